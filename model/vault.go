package model

import (
	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

func vaultMeaning() schema.Meaning {
	return schema.Meaning{UnknownName: func(name string) string {
		return "vault '" + name + "' is not installed"
	}}
}

// vaultConfigs lists the kinds of vaults that a build knows.
func vaultConfigs() ([]*schema.Plugin, error) {
	env, err := schema.LoadPlugin((&entityv1.EnvVault{}).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	return []*schema.Plugin{env}, nil
}
