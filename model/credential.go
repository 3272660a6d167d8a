package model

import (
	"crypto/sha1" //nolint:gosec // the form that Kong shows; it verifies nothing here
	"encoding/hex"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

func basicauthMeaning() schema.Meaning {
	return schema.Meaning{Finish: hashPassword}
}

// hashPassword brings a password that was just said to the form in which Kong stores and
// shows it: the hex of SHA-1 over the password and its consumer's id. A credential cannot
// change hands without a new password, because the hash holds the owner.
func hashPassword(c schema.Change) error {
	owner := ownerID(c.Next)
	password, said := c.Given["password"].(string)
	if said {
		sum := sha1.Sum([]byte(password + owner)) //nolint:gosec // see above
		c.Next["password"] = hex.EncodeToString(sum[:])
		return nil
	}
	if c.Old != nil && ownerID(c.Old) != owner {
		return schema.Violation(fault.Tree{"@entity": []any{
			"all or none of these fields must be set: 'password', 'consumer.id'",
		}})
	}
	return nil
}

func ownerID(b schema.Body) string {
	m, _ := b["consumer"].(schema.Body)
	id, _ := m["id"].(string)
	return id
}
