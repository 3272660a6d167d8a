package adminapi

import (
	_ "embed"
	"encoding/json"
	"sync"
)

// strangersJSON are the schemas, as Kong 3.9.1 shows them, of what it keeps as entities and
// we do not: tags and nodes are answered from elsewhere, the rest has no use here. Clients
// ask for them to learn what there is.
//
//go:embed strangers.json
var strangersJSON []byte

// strangers are those schemas by kind.
var strangers = sync.OnceValue(func() map[string]json.RawMessage {
	byKind := map[string]json.RawMessage{}
	if err := json.Unmarshal(strangersJSON, &byKind); err != nil {
		panic(err) // a bug of the build
	}
	return byKind
})
