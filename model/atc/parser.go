package atc

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds parentheses and functions within each other: a body of 10 MB could hold
// millions, and each costs stack.
const maxDepth = 500

// Parse reads an expression. The error is one of syntax, with the place, or of what a part
// means by itself, such as a bad regex; types are left to Check.
func Parse(text string) (*Expression, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("expression is not valid UTF-8")
	}
	p := &parser{scanner: scanner{text: text}}
	var e *Expression
	ok := p.try(ruleMatcher, func() bool {
		p.space()
		if e = p.expression(); e == nil {
			return false
		}
		p.space()
		return p.try(ruleEOI, func() bool { return p.pos == len(p.text) })
	})
	switch {
	case p.deep:
		return nil, fmt.Errorf("expression is nested deeper than %d", maxDepth)
	case !ok:
		return nil, errorAt(text, p.failed, p.expected())
	}
	return e, p.fault
}

// parser makes expressions of what the scanner finds. A fault is the first part that has the
// right form and no meaning; an error of syntax goes before it, which is why parsing goes on.
type parser struct {
	scanner
	fault error
	depth int
	deep  bool // too much so
}

func (p *parser) refuse(start int, why string) {
	if p.fault == nil {
		p.fault = errorSpan(p.text, start, p.pos, why)
	}
}

// expression reads terms and operators between them. "||" binds tighter than "&&", the
// other way round than in most languages: so does atc-router.
func (p *parser) expression() *Expression {
	var and, or *Expression
	ok := p.try(ruleExpression, func() bool {
		if or = p.term(); or == nil {
			return false
		}
		for {
			start := p.pos
			p.space()
			isAnd := p.try(ruleAnd, func() bool { return p.word("&&") })
			if !isAnd && !p.try(ruleOr, func() bool { return p.word("||") }) {
				p.pos = start
				return true
			}
			p.space()
			next := p.term()
			switch {
			case next == nil:
				p.pos = start
				return true
			case isAnd:
				and, or = join(And, and, or), next
			default:
				or = join(Or, or, next)
			}
		}
	})
	if !ok {
		return nil
	}
	return join(And, and, or)
}

func join(l Logic, a, b *Expression) *Expression {
	if a == nil {
		return b
	}
	return &Expression{Logic: l, Left: a, Right: b}
}

func (p *parser) term() *Expression {
	var e *Expression
	p.try(ruleTerm, func() bool {
		if e = p.predicate(); e == nil {
			e = p.parenthesised()
		}
		return e != nil
	})
	return e
}

// deeper runs a part that may contain itself.
func (p *parser) deeper(f func() bool) bool {
	if p.depth == maxDepth {
		p.deep = true
		return false
	}
	p.depth++
	defer func() { p.depth-- }()
	return f()
}

func (p *parser) parenthesised() *Expression {
	var e *Expression
	ok := p.try(ruleParenthesised, func() bool {
		not := p.try(ruleNot, func() bool { return p.word("!") })
		if not {
			p.space()
		}
		if !p.word("(") {
			return false
		}
		p.space()
		if !p.deeper(func() bool { e = p.expression(); return e != nil }) {
			return false
		}
		p.space()
		if not {
			e = &Expression{Logic: Not, Left: e}
		}
		return p.word(")")
	})
	if !ok {
		return nil
	}
	return e
}

func (p *parser) predicate() *Expression {
	q := &Predicate{}
	ok := p.try(rulePredicate, func() bool {
		if !p.lhs(q) {
			return false
		}
		p.space()
		if !p.operator(q) {
			return false
		}
		p.space()
		return p.rhs(q)
	})
	if !ok {
		return nil
	}
	return &Expression{Predicate: q}
}

func (p *parser) lhs(q *Predicate) bool {
	return p.try(ruleLHS, func() bool {
		if p.transform(q) {
			return true
		}
		q.Lower, q.Any = false, false
		start := p.pos
		if !p.ident() {
			return false
		}
		q.Field = p.text[start:p.pos]
		return true
	})
}

func (p *parser) ident() bool {
	return p.try(ruleIdent, func() bool { return p.run(isAlpha, 1, 1) && p.run(isWord, 0, 0) })
}

func (p *parser) transform(q *Predicate) bool {
	start := p.pos
	var name string
	ok := p.try(ruleTransformFunc, func() bool {
		if !p.ident() {
			return false
		}
		name = p.text[start:p.pos]
		p.space()
		if !p.word("(") {
			return false
		}
		p.space()
		if !p.deeper(func() bool { return p.lhs(q) }) {
			return false
		}
		p.space()
		return p.word(")")
	})
	if !ok {
		return false
	}
	switch name {
	case "lower":
		q.Lower = true
	case "any":
		q.Any = true
	default:
		p.refuse(start, "unknown transformation function: "+name)
	}
	return true
}

// operators are tried in this order: one that begins as another does comes first.
var operators = []struct {
	text string
	op   Operator
}{
	{"==", Equals}, {"!=", NotEquals}, {"~", Regex}, {"^=", Prefix}, {"=^", Postfix},
	{">=", GreaterOrEqual}, {">", Greater}, {"<=", LessOrEqual}, {"<", Less}, {"in", In}, {"contains", Contains},
}

func (p *parser) operator(q *Predicate) bool {
	return p.try(ruleBinaryOperator, func() bool {
		for _, o := range operators {
			if p.word(o.text) {
				q.Operator = o.op
				return true
			}
		}
		q.Operator = NotIn
		if !p.word("not") {
			return false
		}
		p.space()
		return p.word("in")
	})
}
