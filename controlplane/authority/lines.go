package authority

import (
	"maps"
	"net"
	"slices"
	"sync"
)

// lines are the connections of nodes, to be cut when a node is denied.
type lines struct {
	mu     sync.Mutex
	byNode map[string]map[*line]struct{}
}

// line is one connection; it has a name once the node proved itself.
type line struct {
	net.Conn
	of *lines

	// Guarded by lines.mu.
	node   string
	closed bool
}

func (l *lines) open(c net.Conn) *line { return &line{Conn: c, of: l} }

// name notes whose connection it is.
func (l *lines) name(n *line, node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.closed {
		return
	}
	n.node = node
	if l.byNode == nil {
		l.byNode = map[string]map[*line]struct{}{}
	}
	if l.byNode[node] == nil {
		l.byNode[node] = map[*line]struct{}{}
	}
	l.byNode[node][n] = struct{}{}
}

// Close implements net.Conn.
func (n *line) Close() error {
	n.of.mu.Lock()
	n.closed = true
	delete(n.of.byNode[n.node], n)
	if len(n.of.byNode[n.node]) == 0 {
		delete(n.of.byNode, n.node)
	}
	n.of.mu.Unlock()
	return n.Conn.Close()
}

func (l *lines) count(node string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byNode[node])
}

// cut closes a node's connections.
func (l *lines) cut(node string) {
	l.mu.Lock()
	all := slices.Collect(maps.Keys(l.byNode[node]))
	l.mu.Unlock()
	for _, n := range all {
		_ = n.Close() // its server finds out
	}
}

// cutAll closes every node's connections.
func (l *lines) cutAll() {
	l.mu.Lock()
	nodes := slices.Collect(maps.Keys(l.byNode))
	l.mu.Unlock()
	for _, node := range nodes {
		l.cut(node)
	}
}
