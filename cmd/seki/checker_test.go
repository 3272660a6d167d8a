package main

import (
	"encoding/json"
	"testing"

	"github.com/sekifuda/sekifuda/model/fault"
)

func TestRefusalsStandAtTheirFields(t *testing.T) {
	t.Parallel()
	fields := fault.Tree{}
	for path, text := range map[string]string{
		"":                          "whole",
		"name":                      "unknown",
		"config.add.querystring[2]": "third",
		"config.add.body":           "all",
		"config.big[99999999]":      "far",
	} {
		put(fields, path, text)
	}
	got, err := json.Marshal(fields)
	want := `{"@entity":["whole"],"config":{"add":{"body":"all","querystring":[null,null,"third"]},"big":"far"},"name":"unknown"}`
	if err != nil || string(got) != want {
		t.Errorf("fields = %s, %v, want %s", got, err, want)
	}
}
