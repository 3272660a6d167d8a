// Package rpc is what plugins that translate to gRPC share: the methods that a .proto file on the
// gate's disk describes, messages between JSON and the wire, and the framing of messages
// (gRPC over HTTP/2, "Length-Prefixed-Message").
//
// It knows nothing of exchanges. Enter at Open.
package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// File is a .proto file. It is read when it is first asked: the control plane, which also makes
// filters, need not have it. Safe for concurrent use.
type File struct {
	path string

	once    sync.Once
	methods map[string]*Method
	err     error
}

// Open returns the file of that path. It reads nothing yet.
func Open(path string) *File { return &File{path: path} }

// Method is one method of a service.
type Method struct {
	Path string // "/package.Service/Method"
	// HTTP is how the method is reached by REST (google.api.http), nil when it says nothing.
	HTTP *annotations.HttpRule

	in, out protoreflect.MessageDescriptor
}

// Methods returns all methods by their paths.
func (f *File) Methods() (map[string]*Method, error) {
	f.once.Do(func() { f.methods, f.err = read(f.path) })
	return f.methods, f.err
}

// read compiles the file. What it imports is looked for beside it, then in /usr/include; the files
// of protobuf itself and google/api/annotations.proto are known.
func read(path string) (map[string]*Method, error) {
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{ImportPaths: []string{filepath.Dir(path), "/usr/include"}},
		protocompile.ResolverFunc(known),
	})}
	files, err := c.Compile(context.Background(), filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("read proto %s: %w", path, err)
	}
	methods := map[string]*Method{}
	services := files[0].Services()
	for i := range services.Len() {
		of := services.Get(i).Methods()
		for j := range of.Len() {
			m := method(of.Get(j))
			methods[m.Path] = m
		}
	}
	return methods, nil
}

func known(path string) (protocompile.SearchResult, error) {
	for _, d := range []protoreflect.FileDescriptor{annotations.File_google_api_annotations_proto, annotations.File_google_api_http_proto} {
		if d.Path() == path {
			return protocompile.SearchResult{Desc: d}, nil
		}
	}
	return protocompile.SearchResult{}, fmt.Errorf("%s: no such file", path)
}

func method(d protoreflect.MethodDescriptor) *Method {
	m := &Method{
		Path: fmt.Sprintf("/%s/%s", d.Parent().FullName(), d.Name()), in: d.Input(), out: d.Output(),
	}
	// The options of a compiled file are dynamic messages: they are read again as what they are.
	raw, err := proto.Marshal(d.Options())
	if err != nil {
		return m
	}
	options := d.Options().ProtoReflect().New().Interface()
	if proto.Unmarshal(raw, options) == nil {
		m.HTTP, _ = proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
	}
	return m
}

// Input describes the method's request.
func (m *Method) Input() protoreflect.MessageDescriptor { return m.in }

// Request turns JSON into the method's request on the wire. What the message does not have is left
// out.
func (m *Method) Request(text []byte) ([]byte, error) {
	message := dynamicpb.NewMessage(m.in)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, message); err != nil {
		return nil, err
	}
	return proto.Marshal(message)
}

// Response turns the method's response into JSON, by the names of the .proto file.
func (m *Method) Response(wire []byte) ([]byte, error) {
	message := dynamicpb.NewMessage(m.out)
	if err := proto.Unmarshal(wire, message); err != nil {
		return nil, err
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, text) // protojson's spaces differ from build to build
	return compact.Bytes(), err
}

// frameHead is the length of what stands before a message: flags and its length.
const frameHead = 5

// AppendFrame appends a message with its head. flags is 0, or 0x80 for the trailer of gRPC-Web.
func AppendFrame(b []byte, flags byte, message []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, flags), uint32(len(message)))
	return append(b, message...)
}

// NextFrame splits the first message off; ok is false while it is not whole.
func NextFrame(b []byte) (message, rest []byte, ok bool) {
	if len(b) < frameHead {
		return nil, b, false
	}
	n := int64(binary.BigEndian.Uint32(b[1:]))
	if int64(len(b)-frameHead) < n {
		return nil, b, false
	}
	end := frameHead + int(n)
	return b[frameHead:end], b[end:], true
}
