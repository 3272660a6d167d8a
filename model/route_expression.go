package model

import (
	"github.com/sekifuda/sekifuda/model/atc"
	"github.com/sekifuda/sekifuda/model/schema"
)

func expressionFault(why string) string { return "Router Expression failed validation: " + why }

// matchFields are those that an expression takes the place of.
var matchFields = []string{"snis", "sources", "destinations", "methods", "hosts", "paths", "headers"}

const listedFields = "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously"

// checkRouteExpression checks what a route matches: an expression, or the other fields. Under
// another flavor than expressions there are no expressions to be found.
func checkRouteExpression(b schema.Body) string {
	text, has := b["expression"].(string)
	others := false
	for _, name := range matchFields {
		others = others || !emptyField(b[name])
	}
	switch {
	case !has && !others:
		return ""
	case has && others:
		return expressionFault("cannot set 'expression' with " + listedFields)
	case has && !zeroField(b["regex_priority"]):
		return expressionFault("cannot set 'regex_priority' with 'expression' simultaneously")
	case others && !zeroField(b["priority"]):
		return expressionFault("cannot set 'priority' with " + listedFields)
	case !has:
		return checkFields(b)
	}
	protocols, _ := b["protocols"].([]any)
	if _, err := atc.Compile(text, fieldsFor(protocols)); err != nil {
		return expressionFault(err.Error())
	}
	return ""
}

// fieldsFor is what an expression may name, by the first protocol: none mixes families.
func fieldsFor(protocols []any) atc.Fields {
	if len(protocols) > 0 {
		switch protocols[0] {
		case "tcp", "udp", "tls", "tls_passthrough":
			return atc.StreamFields
		}
	}
	return atc.HTTPFields
}

func emptyField(v any) bool {
	switch v := v.(type) {
	case []any:
		return len(v) == 0
	case schema.Body:
		return len(v) == 0
	}
	return v == nil
}

func zeroField(v any) bool { return v == nil || v == 0.0 }
