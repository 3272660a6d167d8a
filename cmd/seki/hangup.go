package main

import "sync"

// hangUp is what is done at SIGHUP: by name, as a control plane that is opened anew in the same
// process takes the place of the one before.
type hangUp struct {
	mu sync.Mutex
	do map[string]func()
}

func (h *hangUp) on(name string, do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.do == nil {
		h.do = map[string]func(){}
	}
	h.do[name] = do
}

func (h *hangUp) all() []func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]func(), 0, len(h.do))
	for _, f := range h.do {
		list = append(list, f)
	}
	return list
}
