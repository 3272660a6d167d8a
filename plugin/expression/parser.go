package expression

import (
	"fmt"
	"slices"
)

// deepest bounds the nesting of an expression, so that none can use up the stack.
const deepest = 100

// library is what Lua has and these expressions have not, unless the caller gives it. A name
// that Lua does not know either is nil at run time, as in Kong.
var library = []string{
	"assert", "bit", "cjson", "coroutine", "debug", "dofile", "error", "io", "ipairs", "kong", "loadstring", "math",
	"next", "ngx", "os", "package", "pairs", "pcall", "print", "require", "select", "string", "table", "tonumber",
	"tostring", "type", "unpack", "xpcall",
}

var keywords = []string{
	"break", "do", "else", "elseif", "end", "for", "function", "goto", "if", "in", "local", "repeat", "return", "then",
	"until", "while",
}

// Compile reads an expression. given are names that its Env has; a name of Lua's library that
// is not given is refused. The error says, in Lua's words where it has some, what is not
// understood.
func Compile(text string, given ...string) (*Expr, error) {
	return (&parser{lexer: lexer{rest: text}, given: given}).parse()
}

func (p *parser) parse() (*Expr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.token.kind != end {
		return nil, fmt.Errorf("%s is not understood here", p.token)
	}
	return &Expr{n}, nil
}

type parser struct {
	lexer lexer
	token token
	given []string
	bare  bool // there is no library: its names are nil as others are
	depth int
}

func (p *parser) advance() (err error) {
	p.token, err = p.lexer.next()
	return err
}

func (p *parser) is(kind tokenKind, text string) bool {
	return p.token.kind == kind && p.token.text == text
}

func (p *parser) expect(text string) error {
	if !p.is(mark, text) {
		return fmt.Errorf("'%s' expected near %s", text, p.token)
	}
	return p.advance()
}

func (p *parser) or() (node, error) {
	if p.depth++; p.depth > deepest {
		return nil, fmt.Errorf("nested deeper than %d levels", deepest)
	}
	defer func() { p.depth-- }()
	return p.chain("or", p.and, func(l, r node) node { return or{l, r} })
}

func (p *parser) and() (node, error) {
	return p.chain("and", p.comparison, func(l, r node) node { return and{l, r} })
}

func (p *parser) chain(operator string, operand func() (node, error), join func(l, r node) node) (node, error) {
	n, err := operand()
	for err == nil && p.is(word, operator) {
		if err = p.advance(); err != nil {
			break
		}
		var right node
		if right, err = operand(); err == nil {
			n = join(n, right)
		}
	}
	return n, err
}

// comparison reads a chain, left first, as Lua does.
func (p *parser) comparison() (node, error) {
	return p.binary(p.concat, map[string]func(l, r node) node{
		"==": func(l, r node) node { return equal{l, r, false} },
		"~=": func(l, r node) node { return equal{l, r, true} },
		"<":  func(l, r node) node { return less{l, r, false} },
		"<=": func(l, r node) node { return less{l, r, true} },
		">":  func(l, r node) node { return less{r, l, false} },
		">=": func(l, r node) node { return less{r, l, true} },
	})
}

// concat binds to the right.
func (p *parser) concat() (node, error) {
	parts := []node{}
	for {
		n, err := p.sum()
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
		if !p.is(mark, "..") {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	n := parts[len(parts)-1]
	for _, left := range slices.Backward(parts[:len(parts)-1]) {
		n = concat{left, n}
	}
	return n, nil
}

func (p *parser) sum() (node, error) { return p.binary(p.product, arithmetics("+", "-")) }

func (p *parser) product() (node, error) { return p.binary(p.unary, arithmetics("*", "/", "%")) }

func arithmetics(operators ...string) map[string]func(l, r node) node {
	m := map[string]func(l, r node) node{}
	for _, o := range operators {
		m[o] = func(l, r node) node { return arithmetic{l, r, o[0]} }
	}
	return m
}

// binary reads operands that operators of one rank join, left first.
func (p *parser) binary(operand func() (node, error), join map[string]func(l, r node) node) (node, error) {
	n, err := operand()
	for err == nil && p.token.kind == mark && join[p.token.text] != nil {
		make := join[p.token.text]
		if err = p.advance(); err != nil {
			break
		}
		var right node
		if right, err = operand(); err == nil {
			n = make(n, right)
		}
	}
	return n, err
}

// unary folds a run of "not": it is as deep as one or two.
func (p *parser) unary() (node, error) {
	negations := 0
	for p.is(word, "not") {
		negations++
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	n, err := p.signed()
	for range min(negations, 2-negations%2) {
		n = not{n}
	}
	return n, err
}

func (p *parser) signed() (node, error) {
	if !p.is(mark, "-") && !p.is(mark, "#") {
		return p.postfix()
	}
	length := p.token.text == "#"
	if p.depth++; p.depth > deepest {
		return nil, fmt.Errorf("nested deeper than %d levels", deepest)
	}
	defer func() { p.depth-- }()
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.unary()
	if length {
		return count{n}, err
	}
	return arithmetic{literal{OfNumber(0)}, n, '-'}, err
}

func (p *parser) postfix() (node, error) {
	n, err := p.primary()
	for err == nil && p.token.kind == mark {
		switch p.token.text {
		case ".":
			n, err = p.field(n)
		case "[":
			n, err = p.element(n)
		case "(":
			n, err = p.arguments(call{of: n})
		case ":":
			n, err = p.method(n)
		default:
			return n, nil
		}
	}
	return n, err
}

func (p *parser) field(of node) (node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.token.kind != word || slices.Contains(keywords, p.token.text) {
		return nil, fmt.Errorf("name expected near %s", p.token)
	}
	key := literal{Of(p.token.text)}
	return index{of, key}, p.advance()
}

func (p *parser) element(of node) (node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	key, err := p.or()
	if err != nil {
		return nil, err
	}
	return index{of, key}, p.expect("]")
}

// method reads of:name(arguments): of is what the function acts on.
func (p *parser) method(of node) (node, error) {
	f, err := p.field(of)
	if err != nil {
		return nil, err
	}
	if !p.is(mark, "(") {
		return nil, fmt.Errorf("function arguments expected near %s", p.token)
	}
	return p.arguments(call{of: f, args: []node{of}})
}

func (p *parser) arguments(c call) (node, error) {
	given := len(c.args)
	if err := p.advance(); err != nil {
		return nil, err
	}
	for !p.is(mark, ")") {
		if len(c.args) > given {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		a, err := p.or()
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, a)
	}
	return c, p.advance()
}

func (p *parser) primary() (node, error) {
	t := p.token
	switch {
	case t.kind == quoted:
		return literal{Of(t.text)}, p.advance()
	case t.kind == number:
		return literal{OfNumber(t.num)}, p.advance()
	case p.is(mark, "("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	case t.kind == word:
		return p.word(t.text)
	}
	return nil, fmt.Errorf("unexpected symbol near %s", t)
}

func (p *parser) word(text string) (node, error) {
	switch text {
	case "nil":
		return literal{}, p.advance()
	case "true", "false":
		return literal{OfBool(text == "true")}, p.advance()
	case "and", "or", "not":
		return nil, fmt.Errorf("unexpected symbol near '%s'", text)
	}
	if slices.Contains(keywords, text) {
		return nil, fmt.Errorf("'%s' is not understood here: only expressions are", text)
	}
	if !p.bare && slices.Contains(library, text) && !slices.Contains(p.given, text) {
		return nil, fmt.Errorf("'%s' is not available here", text)
	}
	return name{text}, p.advance()
}
