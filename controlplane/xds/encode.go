package xds

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Field numbers of envoy.service.discovery.v3 and google.protobuf.Any. The encoding is
// written by hand because its bytes are shared by all nodes; a test reads it back with the
// stock decoder.
const (
	responseResources protowire.Number = 2
	responseRemoved   protowire.Number = 6

	resourceVersion protowire.Number = 1
	resourceBody    protowire.Number = 2
	resourceName    protowire.Number = 3

	anyType  protowire.Number = 1
	anyValue protowire.Number = 2

	entryKind protowire.Number = 1
	entryID   protowire.Number = 2
	entryRev  protowire.Number = 3
	entryBody protowire.Number = 4
)

func sizeField(num protowire.Number, n int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(n)
}

func sizeEntry(e *snapshot.Entry) int {
	n := sizeField(entryKind, len(e.Kind)) + sizeField(entryID, len(e.ID))
	if e.Rev != 0 {
		n += protowire.SizeTag(entryRev) + protowire.SizeVarint(e.Rev)
	}
	if len(e.Body) > 0 {
		n += sizeField(entryBody, len(e.Body))
	}
	return n
}

// appendResource appends e as one member of DeltaDiscoveryResponse.resources.
func appendResource(b []byte, e *snapshot.Entry) []byte {
	name, version := e.Name(), strconv.FormatUint(e.Rev, 36)
	entry := sizeEntry(e)
	body := sizeField(anyType, len(feedv1.EntryType)) + sizeField(anyValue, entry)
	all := sizeField(resourceVersion, len(version)) + sizeField(resourceBody, body) + sizeField(resourceName, len(name))

	b = appendLen(b, responseResources, all)
	b = appendText(b, resourceVersion, version)
	b = appendLen(b, resourceBody, body)
	b = appendText(b, anyType, feedv1.EntryType)
	b = appendLen(b, anyValue, entry)
	b = appendEntry(b, e)
	return appendText(b, resourceName, name)
}

func appendEntry(b []byte, e *snapshot.Entry) []byte {
	b = appendText(b, entryKind, e.Kind)
	b = appendText(b, entryID, e.ID)
	if e.Rev != 0 {
		b = protowire.AppendTag(b, entryRev, protowire.VarintType)
		b = protowire.AppendVarint(b, e.Rev)
	}
	if len(e.Body) > 0 {
		b = appendLen(b, entryBody, len(e.Body))
		b = append(b, e.Body...)
	}
	return b
}

func appendRemoved(b []byte, name string) []byte { return appendText(b, responseRemoved, name) }

func appendText(b []byte, num protowire.Number, s string) []byte {
	return append(appendLen(b, num, len(s)), s...)
}

func appendLen(b []byte, num protowire.Number, n int) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(n))
}

// chunker cuts encoded changes into chunks of about size bytes.
type chunker struct {
	size   int
	chunks [][]byte
	open   []byte
	total  int
}

func (k *chunker) put(e *snapshot.Entry) { k.add(appendResource(k.open, e)) }
func (k *chunker) remove(name string)    { k.add(appendRemoved(k.open, name)) }

func (k *chunker) add(grown []byte) {
	k.total += len(grown) - len(k.open)
	k.open = grown
	if len(k.open) >= k.size {
		k.chunks, k.open = append(k.chunks, k.open), nil
	}
}

// done returns the chunks, at least one.
func (k *chunker) done() [][]byte {
	if k.open != nil || len(k.chunks) == 0 {
		k.chunks, k.open = append(k.chunks, k.open), nil
	}
	return k.chunks
}
