package grpcgateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sekifuda/sekifuda/plugin/payload"
	"github.com/sekifuda/sekifuda/plugin/rpc"
)

// binding is one way in which a method is offered.
type binding struct {
	verb   string
	path   *regexp.Regexp
	names  []string // of what the path's groups say: field paths
	body   string   // "": none, "*": all that the path does not say, else a field
	method *rpc.Method
}

// read returns the bindings of a file, in the order of its methods' paths.
func read(file *rpc.File) ([]*binding, error) {
	methods, err := file.Methods()
	if err != nil {
		return nil, err
	}
	var all []*binding
	for _, path := range slices.Sorted(maps.Keys(methods)) {
		m := methods[path]
		if m.HTTP == nil {
			continue
		}
		for _, rule := range append([]*annotations.HttpRule{m.HTTP}, m.HTTP.GetAdditionalBindings()...) {
			b, err := bind(m, rule)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			if b != nil {
				all = append(all, b)
			}
		}
	}
	return all, nil
}

func bind(m *rpc.Method, rule *annotations.HttpRule) (*binding, error) {
	b := &binding{body: rule.GetBody(), method: m}
	var template string
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		b.verb, template = http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		b.verb, template = http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		b.verb, template = http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		b.verb, template = http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		b.verb, template = http.MethodPatch, p.Patch
	default:
		return nil, nil // a verb of its own
	}
	var err error
	b.path, b.names, err = compile(template)
	return b, err
}

// variable is "{name}" or "{name=segments}" of a path template.
var variable = regexp.MustCompile(`\{([^{}=]+)(?:=([^{}]*))?\}`)

// compile makes a pattern of a path template: "*" is a segment, "**" any number of them.
func compile(template string) (*regexp.Regexp, []string, error) {
	var names []string
	var b strings.Builder
	b.WriteString(`\A`)
	at := 0
	for _, m := range variable.FindAllStringSubmatchIndex(template, -1) {
		b.WriteString(segments(template[at:m[0]]))
		names = append(names, template[m[2]:m[3]])
		inner := "*"
		if m[4] >= 0 {
			inner = template[m[4]:m[5]]
		}
		b.WriteString("(" + segments(inner) + ")")
		at = m[1]
	}
	b.WriteString(segments(template[at:]))
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	return re, names, err
}

func segments(s string) string {
	parts := strings.Split(s, "**")
	for i, p := range parts {
		literal := strings.Split(p, "*")
		for j := range literal {
			literal[j] = regexp.QuoteMeta(literal[j])
		}
		parts[i] = strings.Join(literal, "[^/]+")
	}
	return strings.Join(parts, ".+")
}

func (b *binding) match(path string) (map[string]string, bool) {
	m := b.path.FindStringSubmatch(path)
	if m == nil {
		return nil, false
	}
	values := map[string]string{}
	for i, name := range b.names {
		values[name] = m[i+1]
	}
	return values, true
}

// message makes the method's request: of the path, and of the body, or the query where there is
// no body to be.
func (b *binding) message(path map[string]string, query string, body []byte) ([]byte, error) {
	all := payload.Values{}
	for name, value := range path {
		b.put(all, name, value)
	}
	switch {
	case b.body == "":
		for name, value := range payload.Arguments(query) {
			b.put(all, name, value)
		}
	case len(body) > 0:
		var said any
		if err := json.Unmarshal(body, &said); err != nil {
			return nil, fmt.Errorf("decode json err: %w", err)
		}
		if b.body != "*" {
			all[b.body] = said
			break
		}
		o, ok := said.(map[string]any)
		if !ok {
			return nil, errors.New("body must be a table")
		}
		maps.Copy(all, o)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, errors.New("failed to encode payload")
	}
	message, err := b.method.Request(text)
	if err != nil {
		return nil, errors.New("failed to encode payload")
	}
	return message, nil
}

// put sets the field at a path of names. What the message has not is left out.
func (b *binding) put(all map[string]any, path string, value any) {
	d := b.method.Input()
	names := strings.Split(path, ".")
	for i, name := range names {
		f := d.Fields().ByName(protoreflect.Name(name))
		if f == nil {
			f = d.Fields().ByJSONName(name)
		}
		switch {
		case f == nil:
			return
		case i == len(names)-1:
			all[name] = fit(f, value)
			return
		case f.Message() == nil || f.IsList() || f.IsMap():
			return
		}
		inner, ok := all[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			all[name] = inner
		}
		all, d = inner, f.Message()
	}
}

// fit brings an argument to what the field takes.
func fit(f protoreflect.FieldDescriptor, value any) any {
	if f.IsList() {
		_, many := payload.First(value)
		out := make([]any, len(many))
		for i, one := range many {
			out[i] = scalar(f, one)
		}
		return out
	}
	first, _ := payload.First(value)
	return scalar(f, first)
}

func scalar(f protoreflect.FieldDescriptor, v any) any {
	if f.Kind() == protoreflect.BoolKind {
		return v != "0" && v != "false" && v != false
	}
	if v == true {
		return "" // an argument without a value
	}
	return v
}
