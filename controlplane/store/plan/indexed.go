package plan

import (
	"crypto/sha256"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// An index row of PostgreSQL has a bound of 2,704 bytes. Longer values are cut to
// indexedBytes, of which the last are a hash of the whole. No value that fits is as long
// as a cut one, so two different values never lie in a column as the same bytes.
const (
	maxWhole     = 1023
	indexedBytes = 1024
)

// Indexed is the form in which a unique key's value or a tag lies in an indexed column; any
// bytes will do. cut says that the form is not the value itself. The ledger and the plan
// hold keys in this form, tags as they are.
func Indexed(v string) (form string, cut bool) {
	if len(v) <= maxWhole {
		return v, false
	}
	sum := sha256.Sum256([]byte(v))
	return v[:indexedBytes-len(sum)] + string(sum[:]), true
}

// indexed puts the keys into their form. whole gets back what was cut.
func indexed(keys []store.Key, whole map[store.Key]string) []store.Key {
	forms := make([]store.Key, len(keys))
	for i, k := range keys {
		form, cut := Indexed(k.Value)
		forms[i] = store.Key{Index: k.Index, Value: form}
		if cut {
			whole[forms[i]] = k.Value
		}
	}
	return forms
}
