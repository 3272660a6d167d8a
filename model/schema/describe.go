package schema

import (
	optionsv1 "github.com/sekifuda/sekifuda/proto/sekifuda/options/v1"
)

// JSON returns the body of GET /schemas/{kind}.
func (t *Table) JSON() Body {
	return Body{
		"fields":        describeFields(t.base.fields),
		"entity_checks": describeChecks(t.base.checks),
	}
}

// JSON returns the body of GET /schemas/plugins/{name}.
func (p *Plugin) JSON() Body {
	scopes, protocols := p.refusedScopes(), p.describeProtocols()
	fields := append(scopes, protocols...)
	if p.ProtocolsFirst {
		fields = append(protocols, scopes...)
	}
	fields = append(fields, Body{"config": p.ConfigJSON()})
	return Body{"fields": fields, "entity_checks": describeChecks(p.checks)}
}

func (p *Plugin) refusedScopes() (fields []any) {
	for _, s := range []struct {
		name   string
		kind   string
		refuse bool
	}{{"consumer", "consumers", p.NoConsumer}, {"service", "services", p.NoService}, {"route", "routes", p.NoRoute}} {
		if s.refuse {
			fields = append(fields, Body{s.name: Body{"type": string(Foreign), "reference": s.kind, "eq": nil}})
		}
	}
	return fields
}

func (p *Plugin) describeProtocols() []any {
	if len(p.Protocols) == 0 {
		return nil
	}
	return []any{Body{"protocols": Body{
		"type": string(Set), "required": true, "default": anyList(p.DefaultProtocols),
		"elements": Body{"type": string(String), "one_of": anyList(p.Protocols)},
	}}}
}

// ConfigJSON returns the body of GET /plugins/schema/{name}: the config alone.
func (p *Plugin) ConfigJSON() Body { return p.Config.describe() }

func describeFields(fields []*Field) []any {
	out := []any{}
	for _, f := range fields {
		if !f.Internal && !f.Ours {
			out = append(out, Body{f.Name: f.describe()})
		}
	}
	return out
}

// describe says a field in Kong's words. Go checks have no words.
func (f *Field) describe() Body {
	b := Body{"type": string(f.Type)}
	describeRule(b, f.rule.raw, f)
	set(b, "auto", f.Auto)
	set(b, "unique", f.Unique)
	set(b, "unique_across_ws", f.said.acrossWS)
	set(b, "transient", f.Transient)
	set(b, "abstract", f.Abstract)
	set(b, "encrypted", f.said.encrypted)
	set(b, "referenceable", f.said.refable)
	switch {
	case f.Required:
		b["required"] = true
	case f.said.optional:
		b["required"] = false
	}
	if f.said.notUnique {
		b["unique"] = false
	}
	if f.HasDefault {
		b["default"] = clone(f.Default)
	} else if f.said.defaultNull {
		b["default"] = nil
	}
	if f.Type == Foreign {
		b["reference"] = f.Refers
		if f.said.onDelete != "" {
			b["on_delete"] = f.said.onDelete
		}
	}
	if d := f.said.deprecation; d != nil {
		b["deprecation"] = d.describe()
	}
	f.describeInside(b)
	return b
}

func set(b Body, name string, on bool) {
	if on {
		b[name] = true
	}
}

func (f *Field) describeInside(b Body) {
	if f.Elements != nil {
		b["elements"] = f.Elements.describe()
	}
	if f.Keys != nil {
		b["keys"] = f.Keys.describe()
	}
	if f.Values != nil {
		b["values"] = f.Values.describe()
	}
	if f.record == nil {
		return
	}
	b["fields"] = describeFields(f.record.fields)
	if len(f.record.checks) > 0 {
		b["entity_checks"] = describeChecks(f.record.checks)
	}
	if len(f.record.shorthands) == 0 {
		return
	}
	var list []any
	for _, s := range f.record.shorthands {
		d := s.field.describe()
		if s.dep != nil {
			d["deprecation"] = s.dep.describe()
		}
		list = append(list, Body{s.field.Name: d})
	}
	b["shorthand_fields"] = list
}

func (d *deprecation) describe() Body {
	b := Body{"message": d.message, "removal_in_version": d.removal}
	if d.hasDefault {
		b["old_default"] = clone(d.oldDefault)
	}
	if len(d.replaced) > 0 {
		var list []any
		for _, p := range d.replaced {
			list = append(list, Body{"path": anyList(p)})
		}
		b["replaced_with"] = list
	}
	return b
}

// describeRule adds what a rule says; f lends the compiled values, which have their types.
func describeRule(b Body, o *optionsv1.Rule, f *Field) {
	if o == nil {
		return
	}
	set(b, "timestamp", o.Timestamp)
	set(b, "uuid", o.Uuid)
	set(b, "is_regex", o.IsRegex)
	describeValues(b, o, f)
	if o.Gt != nil {
		b["gt"] = *o.Gt
	}
	if o.Between != nil {
		b["between"] = []any{o.Between.Min, o.Between.Max}
	}
	for name, n := range map[string]*int32{"len_eq": o.LenEq, "len_min": o.LenMin, "len_max": o.LenMax} {
		if n != nil {
			b[name] = float64(*n)
		}
	}
	for name, s := range map[string]string{
		"starts_with": o.StartsWith, "match": o.Match, "err": o.Err, "contains": o.Contains,
	} {
		if s != "" {
			b[name] = s
		}
	}
	describePatterns(b, o)
	if len(o.MutuallyExclusiveSubsets) > 0 {
		var list []any
		for _, s := range o.MutuallyExclusiveSubsets {
			list = append(list, anyList(s.Values))
		}
		b["mutually_exclusive_subsets"] = list
	}
}

func describeValues(b Body, o *optionsv1.Rule, f *Field) {
	if o.EqNull {
		b["eq"] = nil
	}
	if f.rule.eq != nil {
		b["eq"] = f.rule.eq
	}
	if f.rule.ne != nil {
		b["ne"] = f.rule.ne
	}
	if f.rule.oneOf != nil {
		b["one_of"] = clone(f.rule.oneOf)
	}
	if f.rule.notOneOf != nil {
		b["not_one_of"] = clone(f.rule.notOneOf)
	}
}

func describePatterns(b Body, o *optionsv1.Rule) {
	for name, list := range map[string][]*optionsv1.Pattern{"match_none": o.MatchNone, "match_all": o.MatchAll} {
		if len(list) == 0 {
			continue
		}
		var out []any
		for _, p := range list {
			out = append(out, Body{"pattern": p.Pattern, "err": p.Err})
		}
		b[name] = out
	}
	if o.MatchAny != nil {
		any := Body{"patterns": anyList(o.MatchAny.Patterns)}
		if o.MatchAny.Err != "" {
			any["err"] = o.MatchAny.Err
		}
		b["match_any"] = any
	}
}

func describeChecks(list []*check) []any {
	out := []any{}
	for _, c := range list {
		out = append(out, c.describe())
	}
	return out
}

func (c *check) describe() Body {
	switch k := c.raw.Check.(type) {
	case *optionsv1.Check_AtLeastOneOf:
		return Body{"at_least_one_of": anyList(k.AtLeastOneOf.Fields)}
	case *optionsv1.Check_OnlyOneOf:
		return Body{"only_one_of": anyList(k.OnlyOneOf.Fields)}
	case *optionsv1.Check_MutuallyExclusive:
		return Body{"mutually_exclusive": anyList(k.MutuallyExclusive.Fields)}
	case *optionsv1.Check_MutuallyRequired:
		return Body{"mutually_required": anyList(k.MutuallyRequired.Fields)}
	case *optionsv1.Check_Distinct:
		return Body{"distinct": anyList(k.Distinct.Fields)}
	case *optionsv1.Check_Conditional:
		return Body{"conditional": c.describeConditional(k.Conditional)}
	case *optionsv1.Check_ConditionalAtLeastOneOf:
		return Body{"conditional_at_least_one_of": c.describeOneOf(c.oneOf)}
	}
	o := c.raw.GetCustom()
	b := Body{"field_sources": anyList(o.FieldSources)}
	set(b, "run_with_missing_fields", o.RunWithMissingFields)
	return Body{"custom_entity_check": b}
}

func (c *check) describeConditional(o *optionsv1.Conditional) Body {
	b := Body{
		"if_field": o.IfField, "if_match": describeMatch(o.IfMatch, c.asked[0]),
		"then_field": o.ThenField, "then_match": describeMatch(o.ThenMatch, c.asked[1]),
	}
	if o.ThenErr != "" {
		b["then_err"] = o.ThenErr
	}
	return b
}

func (c *check) describeOneOf(o *optionsv1.ConditionalAtLeastOneOf) Body {
	b := Body{
		"if_field": o.IfField, "if_match": describeMatch(o.IfMatch, c.asked[0]),
		"then_at_least_one_of": anyList(o.ThenAtLeastOneOf), "then_err": o.ThenErr,
	}
	if o.ElseMatch != nil {
		b["else_match"] = describeMatch(o.ElseMatch, c.asked[1])
		b["else_then_at_least_one_of"] = anyList(o.ElseThenAtLeastOneOf)
		b["else_then_err"] = o.ElseThenErr
	}
	return b
}

// describeMatch says a condition: only its rules, not the type of the field it is about.
func describeMatch(o *optionsv1.Rule, f *Field) Body {
	b := Body{}
	describeRule(b, o, f)
	set(b, "required", o.GetRequired())
	if o.GetElements() != nil {
		b["elements"] = f.Elements.describe()
	}
	return b
}
