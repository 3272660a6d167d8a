package opentelemetry

import (
	"encoding/hex"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
)

// propagation is which headers are read, taken out and written.
type propagation struct {
	extract  []*format
	clear    []string
	inject   []*format
	preserve bool // also write the format that was found
	other    *format
}

// compile reads config.propagation. The deprecated header_type counts when that says nothing.
func compile(c *Config) (propagation, error) {
	p := propagation{extract: formats, other: formatOf("w3c"), clear: c.GetPropagation().GetClear()}
	if name := c.GetPropagation().GetDefaultFormat(); name != "" {
		if p.other = formatOf(name); p.other == nil {
			return p, fmt.Errorf("config.propagation.default_format: unknown format %q", name)
		}
	}
	extract, inject := c.GetPropagation().GetExtract(), c.GetPropagation().GetInject()
	if len(extract) > 0 {
		p.extract = nil
		for _, name := range extract {
			if name == "b3" { // both of its forms
				p.extract = append(p.extract, formatOf("b3-single"))
			}
			f := formatOf(name)
			if f == nil {
				return p, fmt.Errorf("config.propagation.extract: unknown format %q", name)
			}
			p.extract = append(p.extract, f)
		}
	}
	if len(inject) == 0 {
		inject = []string{"preserve"}
		if len(extract) == 0 && len(p.clear) == 0 {
			switch c.GetHeaderType() {
			case "", "preserve":
			case "ignore":
				p.extract = nil
			default:
				inject = append(inject, c.GetHeaderType())
			}
		}
	}
	for _, name := range inject {
		if name == "preserve" {
			p.preserve = true
			continue
		}
		f := formatOf(name)
		if f == nil {
			return p, fmt.Errorf("config.propagation.inject: unknown format %q", name)
		}
		p.inject = append(p.inject, f)
	}
	return p, nil
}

// read finds the trace that a request belongs to, and takes out what is to be taken out. A
// format whose headers are not well formed is passed over. in belongs to the caller, so that
// nothing is allocated.
func (p *propagation) read(x *plugin.Exchange, in *span) (by *format) {
	h := &x.Request.Header
	*in = span{}
	for _, f := range p.extract {
		if f.extract(h, in) {
			by = f
			break
		}
		*in = span{}
	}
	for _, name := range p.clear {
		h.Del(name)
	}
	return by
}

// write tells the upstream, and the log: there each format that is written has the trace id.
func (p *propagation) write(x *plugin.Exchange, s *span, found *format) {
	kept := p.other
	if found != nil {
		kept = found
	}
	log := append(make([]byte, 0, 64), '{')
	write := func(f *format) {
		f.inject(x, s)
		if len(log) > 1 {
			log = append(log, ',')
		}
		log = append(append(append(log, '"'), f.name...), `":"`...)
		log = append(hex.AppendEncode(log, s.trace[:]), '"')
	}
	if p.preserve {
		write(kept)
	}
	for _, f := range p.inject {
		if !p.preserve || f != kept {
			write(f)
		}
	}
	x.AddLogField("trace_id", append(log, '}'))
}
