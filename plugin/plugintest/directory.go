package plugintest

import "github.com/sekifuda/sekifuda/plugin"

// Directory is who is known, in memory. Fill it before use.
type Directory struct {
	Credentials map[[2]string]*plugin.Credential // by kind and key
	Consumers   map[string]*plugin.Consumer      // by id and by username
	Tokens      map[string]*plugin.Token         // by access and by refresh token
}

var noDirectory = &Directory{}

// NewDirectory knows the given credentials and their consumers.
func NewDirectory(credentials ...*plugin.Credential) *Directory {
	d := &Directory{
		Credentials: map[[2]string]*plugin.Credential{},
		Consumers:   map[string]*plugin.Consumer{},
		Tokens:      map[string]*plugin.Token{},
	}
	for _, c := range credentials {
		d.Credentials[[2]string{c.Kind, c.Key}] = c
		d.AddConsumer(c.Consumer)
	}
	return d
}

// AddConsumer makes c known by id and username.
func (d *Directory) AddConsumer(c *plugin.Consumer) {
	if c == nil {
		return
	}
	d.Consumers[c.ID] = c
	if c.Username != "" {
		d.Consumers[c.Username] = c
	}
}

// Credential implements plugin.Directory.
func (d *Directory) Credential(kind, key string) *plugin.Credential {
	return d.Credentials[[2]string{kind, key}]
}

// Consumer implements plugin.Directory.
func (d *Directory) Consumer(idOrName string) *plugin.Consumer { return d.Consumers[idOrName] }

// CredentialByID implements plugin.Directory.
func (d *Directory) CredentialByID(kind, id string) *plugin.Credential {
	for _, c := range d.Credentials {
		if c.Kind == kind && c.ID == id {
			return c
		}
	}
	return nil
}

// Token implements plugin.Directory.
func (d *Directory) Token(accessOrRefresh string) *plugin.Token { return d.Tokens[accessOrRefresh] }
