package schema

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	optionsv1 "github.com/sekifuda/sekifuda/proto/sekifuda/options/v1"
)

const (
	msgRequired = "required field missing"
	msgUnknown  = "unknown field"
	msgNull     = "value must be null"
	msgUUID     = "expected a valid UUID"
	msgNoID     = "missing primary key"
)

// rule is what a single value must satisfy, ready to run.
type rule struct {
	eqNull       bool
	eq, ne       any // nil when not said
	notOneOf     []any
	oneOf        []any
	gt           *float64
	timestamp    bool
	uuid         bool
	isRegex      bool
	between      *optionsv1.Between
	lenEq        *int32
	lenMin       *int32
	lenMax       *int32
	startsWith   string
	matchNone    []pattern
	match        *pattern
	matchAll     []pattern
	matchAny     []pattern
	matchAnyErr  string
	contains     string
	subsets      [][]string
	check        ValueCheck
	err          string
	raw          *optionsv1.Rule // for /schemas and for variants; nil when nothing is said
	impliedEmpty bool            // strings: the empty one is refused when len_min does not speak
}

type pattern struct {
	re  *regexp.Regexp
	err string
}

// rule compiles the options for a value of type t.
func (l *loader) rule(t Type, o *optionsv1.Rule) (rule, error) {
	r := rule{impliedEmpty: t == String}
	if o == nil {
		return r, nil
	}
	r.raw = o
	r.eqNull, r.timestamp, r.uuid, r.isRegex = o.EqNull, o.Timestamp, o.Uuid, o.IsRegex
	r.gt, r.between = o.Gt, o.Between
	r.lenEq, r.lenMin, r.lenMax = o.LenEq, o.LenMin, o.LenMax
	r.startsWith, r.contains, r.err = o.StartsWith, o.Contains, o.Err
	r.impliedEmpty = t == String && o.LenMin == nil
	if err := r.loadValues(t, o); err != nil {
		return r, err
	}
	if err := r.loadPatterns(o); err != nil {
		return r, err
	}
	for _, s := range o.MutuallyExclusiveSubsets {
		r.subsets = append(r.subsets, s.Values)
	}
	if o.Check != "" {
		if r.check = l.valueCheck(o.Check); r.check == nil {
			return r, fmt.Errorf("unknown check %q", o.Check)
		}
	}
	return r, nil
}

func (r *rule) loadValues(t Type, o *optionsv1.Rule) error {
	var err error
	if o.Eq != nil {
		if r.eq, err = parseDefault(t, *o.Eq); err != nil {
			return err
		}
	}
	if o.Ne != nil {
		if r.ne, err = parseDefault(t, *o.Ne); err != nil {
			return err
		}
	}
	if r.oneOf, err = typedList(t, o.OneOf); err != nil {
		return err
	}
	r.notOneOf, err = typedList(t, o.NotOneOf)
	return err
}

func typedList(t Type, in []string) ([]any, error) {
	var out []any
	for _, s := range in {
		v, err := parseDefault(t, s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (r *rule) loadPatterns(o *optionsv1.Rule) error {
	add := func(list []pattern, text, msg string) ([]pattern, error) {
		re, err := compilePattern(text)
		return append(list, pattern{re, msg}), err
	}
	var err error
	for _, p := range o.MatchNone {
		if r.matchNone, err = add(r.matchNone, p.Pattern, p.Err); err != nil {
			return err
		}
	}
	for _, p := range o.MatchAll {
		if r.matchAll, err = add(r.matchAll, p.Pattern, p.Err); err != nil {
			return err
		}
	}
	for _, p := range o.MatchAny.GetPatterns() {
		if r.matchAny, err = add(r.matchAny, p, ""); err != nil {
			return err
		}
	}
	r.matchAnyErr = o.MatchAny.GetErr()
	if o.Match == "" {
		return nil
	}
	re, err := compilePattern(o.Match)
	r.match = &pattern{re: re}
	return err
}

// apply runs the rules in Kong's order on a value of the right type. The first violation
// wins; "" is none.
func (r *rule) apply(v any) string {
	msg := r.applyValue(v)
	if msg == "" {
		msg = r.applyLength(v)
	}
	if msg == "" {
		if s, ok := v.(string); ok {
			msg = r.applyText(s)
		}
	}
	if msg == "" {
		msg = r.applyLast(v)
	}
	if msg != "" && r.err != "" {
		return r.err
	}
	return msg
}

func (r *rule) applyValue(v any) string {
	if r.eq != nil && v != r.eq {
		return "value must be " + luaString(r.eq)
	}
	if r.ne != nil && v == r.ne {
		return "value must not be " + luaString(r.ne)
	}
	if r.notOneOf != nil && holds(r.notOneOf, v) {
		return "must not be one of: " + joinValues(r.notOneOf)
	}
	if r.oneOf != nil && !holds(r.oneOf, v) {
		return "expected one of: " + joinValues(r.oneOf)
	}
	n, isNumber := v.(float64)
	if !isNumber {
		return ""
	}
	if r.gt != nil && !(n > *r.gt) {
		return "value must be greater than " + luaString(*r.gt)
	}
	if r.timestamp && !(n > 0) {
		return "expected a valid timestamp"
	}
	if b := r.between; b != nil && (n < b.Min || n > b.Max) {
		// Kong 3.9.1 prints the limits with %d, so 0.001 reads 0.
		return fmt.Sprintf("value should be between %d and %d", int64(b.Min), int64(b.Max))
	}
	return ""
}

func (r *rule) applyLength(v any) string {
	if r.lenEq == nil && r.lenMin == nil && r.lenMax == nil && !r.impliedEmpty {
		return ""
	}
	n := int32(math.MaxInt32)
	switch v := v.(type) {
	case string:
		n = int32(min(len(v), math.MaxInt32))
	case []any:
		n = int32(min(len(v), math.MaxInt32))
	case Body:
		n = int32(min(len(v), math.MaxInt32))
	default:
		return ""
	}
	switch {
	case r.lenEq != nil && n != *r.lenEq:
		return "length must be " + strconv.Itoa(int(*r.lenEq))
	case r.lenMin != nil && n < *r.lenMin:
		return "length must be at least " + strconv.Itoa(int(*r.lenMin))
	case r.impliedEmpty && n == 0:
		return "length must be at least 1"
	case r.lenMax != nil && n > *r.lenMax:
		return "length must be at most " + strconv.Itoa(int(*r.lenMax))
	}
	return ""
}

func (r *rule) applyText(s string) string {
	if r.uuid && !isUUID(s) {
		return msgUUID
	}
	if r.isRegex {
		if _, err := regexp.Compile(s); err != nil {
			return "not a valid regex: " + s
		}
	}
	if r.startsWith != "" && !strings.HasPrefix(s, r.startsWith) {
		return "should start with: " + r.startsWith
	}
	for _, p := range r.matchNone {
		if p.re.MatchString(s) {
			return orInvalid(p.err, s)
		}
	}
	if r.match != nil && !r.match.re.MatchString(s) {
		return orInvalid("", s)
	}
	for _, p := range r.matchAll {
		if !p.re.MatchString(s) {
			return orInvalid(p.err, s)
		}
	}
	if len(r.matchAny) > 0 && !anyMatch(r.matchAny, s) {
		return orInvalid(r.matchAnyErr, s)
	}
	return ""
}

func (r *rule) applyLast(v any) string {
	list, isList := v.([]any)
	if r.contains != "" && !(isList && holds(list, r.contains)) {
		return "expected to contain: " + r.contains
	}
	if r.check != nil {
		if msg := r.check(v); msg != "" {
			return msg
		}
	}
	if r.subsets != nil && isList {
		return exclusive(r.subsets, list)
	}
	return ""
}

// exclusive tells when a list mixes values of several subsets, and names those.
func exclusive(subsets [][]string, list []any) string {
	var met [][]string
	for _, set := range subsets {
		for _, s := range set {
			if holds(list, s) {
				met = append(met, set)
				break
			}
		}
	}
	if len(met) < 2 {
		return ""
	}
	var parts []string
	for _, set := range met {
		parts = append(parts, "("+quoted(set)+")")
	}
	return "these sets are mutually exclusive: " + strings.Join(parts, ", ")
}

func anyMatch(list []pattern, s string) bool {
	for _, p := range list {
		if p.re.MatchString(s) {
			return true
		}
	}
	return false
}

func orInvalid(msg, s string) string {
	if msg != "" {
		return msg
	}
	return "invalid value: " + s
}

func holds(list []any, v any) bool {
	switch v.(type) {
	case string, float64, bool:
	default:
		return false
	}
	for _, e := range list {
		switch e.(type) {
		case string, float64, bool:
			if e == v {
				return true
			}
		}
	}
	return false
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return false
			}
		}
	}
	return true
}
