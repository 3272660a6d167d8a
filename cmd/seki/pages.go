package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/sekifuda/sekifuda/dataplane/engine"
)

// pageFiles name the templates of error pages.
type pageFiles struct{ json, html, xml, plain string }

func (p *pageFiles) flags(f *flags) {
	const what = "file with the error page for clients that take "
	f.StringVar(&p.json, "error-template-json", "", what+"application/json: the first %s in it is the message, the second the request's id")
	f.StringVar(&p.html, "error-template-html", "", what+"text/html")
	f.StringVar(&p.xml, "error-template-xml", "", what+"application/xml")
	f.StringVar(&p.plain, "error-template-plain", "", what+"text/plain")
}

func (p *pageFiles) read() (map[string]engine.Page, error) {
	pages := map[string]engine.Page{}
	for _, t := range []struct{ flag, kind, file string }{
		{"json", "application/json", p.json}, {"html", "text/html", p.html}, {"xml", "application/xml", p.xml}, {"plain", "text/plain", p.plain},
	} {
		if t.file == "" {
			continue
		}
		raw, err := os.ReadFile(t.file)
		if err != nil {
			return nil, fmt.Errorf("--error-template-%s: %w", t.flag, err)
		}
		if pages[t.kind], err = engine.ParsePage(string(raw)); err != nil {
			return nil, fmt.Errorf("--error-template-%s %s: %w", t.flag, t.file, err)
		}
	}
	return pages, nil
}

// readPair reads a certificate and its key; nil when none is named.
func readPair(cert, key string) (*tls.Certificate, error) {
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, errors.New("--default-cert and --default-cert-key: one needs the other")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--default-cert %s, --default-cert-key %s: %w", cert, key, err)
	}
	return &pair, nil
}
