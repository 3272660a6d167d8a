package document

import (
	"strings"

	"github.com/google/uuid"
)

// Entities that a file names without an id get the id that Kong 3.9.1 gives them, which is
// made of their name: a file means the same entities here and there.

// namespace is the one of Kong's names of kinds.
var namespace = uuid.MustParse("fd02801f-0957-4a15-a55a-c8d9606f30b5")

func generatedID(kind, key string) string {
	return uuid.NewSHA1(uuid.NewSHA1(namespace, []byte(kind)), []byte(key)).String()
}

// composed are the kinds whose ids are made of several fields, or of one under the kind's
// name.
var composed = map[string][]string{
	"plugins": {"name", "route", "service", "consumer"}, "targets": {"upstream", "target"}, "vaults": {"prefix"},
	"basicauth_credentials": {"username"}, "hmacauth_credentials": {"username"}, "acls": {"consumer", "group"},
	"keyauth_credentials": {"key"}, "jwt_secrets": {"key"}, "keys": {"kid", "set"},
}

// generatedKey is what an entity's id is made of; "" when its fields say too little. It reads
// the entity as the file says it.
func generatedKey(it *item) string {
	fields, ok := composed[it.table.Kind]
	if !ok {
		return textOf(it.body[it.table.Key])
	}
	parts := []string{it.table.Kind, "*"}
	for _, name := range fields {
		switch v := it.body[name].(type) {
		case string:
			parts = append(parts, v)
		case nil:
			f := it.table.Field(name)
			switch {
			case it.owner != nil && name == it.link:
				parts = append(parts, it.owner.id)
			case f == nil || f.Required || f.Auto:
				return ""
			default:
				parts = append(parts, "")
			}
		}
	}
	return strings.Join(parts, ":")
}
