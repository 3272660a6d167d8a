package model

import (
	"crypto/sha1" //nolint:gosec // the form that Kong shows; it verifies nothing here
	"encoding/hex"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/password"
	"github.com/sekifuda/sekifuda/model/schema"
)

func basicauthMeaning() schema.Meaning {
	return schema.Meaning{Finish: hashPassword}
}

// hashPassword brings a password that was just said to the form in which Kong stores and
// shows it: the hex of SHA-1 over the password and its consumer's id. What verifies is a slow
// hash, made here too. A credential cannot change hands without a new password, because the
// first hash holds the owner.
func hashPassword(c schema.Change) error {
	owner := ownerID(c.Next)
	if said, ok := c.Given["password"].(string); ok && !c.Stored {
		sum := sha1.Sum([]byte(said + owner)) //nolint:gosec // see above
		c.Next["password"] = hex.EncodeToString(sum[:])
		c.Next["password_hash"] = password.New(said)
		return nil
	}
	if c.Old != nil && ownerID(c.Old) != owner {
		return schema.Violation(fault.Tree{"@entity": []any{
			"all or none of these fields must be set: 'password', 'consumer.id'",
		}})
	}
	return nil
}

func oauth2Meaning() schema.Meaning {
	return schema.Meaning{Finish: hashSecret}
}

// hashSecret brings the secret of an application to the form in which it is kept. One that is
// brought along in that form stays. Both fields change together: whether a secret is a hash
// cannot be said later.
func hashSecret(c schema.Change) error {
	_, secret := c.Given["client_secret"]
	_, hash := c.Given["hash_secret"]
	if c.Old != nil && secret != hash {
		return schema.Violation(fault.Tree{"@entity": []any{
			"all or none of these fields must be set: 'hash_secret', 'client_secret'",
		}})
	}
	said, ok := c.Next["client_secret"].(string)
	if !ok || c.Next["hash_secret"] != true || c.Stored || c.Old != nil && !secret || password.IsPBKDF2(said) {
		return nil
	}
	c.Next["client_secret"] = password.NewPBKDF2(said)
	return nil
}

func ownerID(b schema.Body) string {
	m, _ := b["consumer"].(schema.Body)
	id, _ := m["id"].(string)
	return id
}
