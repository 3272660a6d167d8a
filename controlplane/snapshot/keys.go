package snapshot

import (
	"google.golang.org/protobuf/encoding/protowire"

	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// keyCredentials is the kind whose keys nodes must not hold.
const keyCredentials = "keyauth_credentials"

const pepperField = 1 // of feedv1.KeyHash

// HashKeys has nodes see only hashes of API keys, and the pepper that the hashes are made
// with. A credential that cannot be read is not shown.
func (r *Rules) HashKeys(pepper []byte) {
	body := protowire.AppendBytes(protowire.AppendTag(nil, pepperField, protowire.BytesType), pepper)
	r.Fixed = append(r.Fixed, Entry{Kind: feedv1.KeyHashKind, ID: feedv1.KeyHashID, Body: body})
	keyField := (&entityv1.KeyauthCredential{}).ProtoReflect().Descriptor().Fields().ByName("key").Number()
	r.Project = func(kind string, body []byte) (string, []byte, bool) {
		if kind != keyCredentials {
			return kind, body, true
		}
		body, err := mapString(body, keyField, func(key string) string { return feedv1.HashKey(pepper, key) })
		return kind, body, err == nil
	}
}

// mapString replaces a string field of an encoded message; all else stays as it is. There may
// be millions of messages: none is taken apart.
func mapString(body []byte, field protowire.Number, to func(string) string) ([]byte, error) {
	out := make([]byte, 0, len(body)+16)
	for rest := body; len(rest) > 0; {
		num, typ, tag := protowire.ConsumeTag(rest)
		if tag < 0 {
			return nil, protowire.ParseError(tag)
		}
		value := protowire.ConsumeFieldValue(num, typ, rest[tag:])
		if value < 0 {
			return nil, protowire.ParseError(value)
		}
		if num == field && typ == protowire.BytesType {
			text, _ := protowire.ConsumeString(rest[tag:])
			out = protowire.AppendString(protowire.AppendTag(out, num, typ), to(text))
		} else {
			out = append(out, rest[:tag+value]...)
		}
		rest = rest[tag+value:]
	}
	return out, nil
}
