// Package model is what the kinds of entities mean: the list of their tables, and the checks
// and expansions of each that a line of options cannot say.
//
// It does no I/O and knows neither the store nor HTTP. Enter at New.
package model

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// Entity is one kind: its message, whose options say its rules, and what they cannot say.
type Entity struct {
	Message proto.Message
	Meaning schema.Meaning
}

// Entities lists every kind. A kind comes after those that it refers to, so writing in this
// order, and deleting in the opposite one, keeps references whole.
func Entities() []Entity { return entities(TraditionalCompatible) }

// The router flavors of Kong 3.9.1 that are served: which language routes are written in.
const (
	TraditionalCompatible = "traditional_compatible"
	Expressions           = "expressions"
)

// CheckFlavor refuses the name of a flavor that is not served.
func CheckFlavor(name string) error {
	switch name {
	case TraditionalCompatible, Expressions:
		return nil
	case "traditional":
		return errors.New("the flavor traditional is not served; traditional_compatible takes the same routes")
	}
	return errors.New("expected traditional_compatible or expressions")
}

func entities(flavor string) []Entity {
	return []Entity{
		{&entityv1.KeySet{}, schema.Meaning{}},
		{&entityv1.Key{}, keyMeaning()},
		{&entityv1.CaCertificate{}, caCertificateMeaning()},
		{&entityv1.Certificate{}, certificateMeaning()},
		// Kong 3.9.1 deletes names with their certificate by hand.
		{&entityv1.Sni{}, schema.Meaning{Cascade: []string{"certificate"}}},
		{&entityv1.Vault{}, vaultMeaning()},
		{&entityv1.Service{}, serviceMeaning()},
		{&entityv1.Route{}, routeMeaning(flavor)},
		{&entityv1.Upstream{}, upstreamMeaning()},
		{&entityv1.Target{}, targetMeaning()},
		{&entityv1.Consumer{}, schema.Meaning{}},
		{&entityv1.KeyauthCredential{}, schema.Meaning{}},
		{&entityv1.BasicauthCredential{}, basicauthMeaning()},
		{&entityv1.HmacauthCredential{}, schema.Meaning{}},
		{&entityv1.JwtSecret{}, jwtMeaning()},
		{&entityv1.Acl{}, schema.Meaning{}},
		{&entityv1.Oauth2Credential{}, oauth2Meaning()},
		{&entityv1.Oauth2Token{}, schema.Meaning{}},
		{&entityv1.Plugin{}, pluginMeaning()},
	}
}

// New reads the tables of all kinds and joins them with the plugins of a build.
func New(plugins []*schema.Plugin) (*schema.Schema, error) {
	return NewFlavored(TraditionalCompatible, plugins)
}

// NewFlavored is New for a router flavor.
func NewFlavored(flavor string, plugins []*schema.Plugin) (*schema.Schema, error) {
	if err := CheckFlavor(flavor); err != nil {
		return nil, fmt.Errorf("router flavor %q: %w", flavor, err)
	}
	var tables []*schema.Table
	for _, e := range entities(flavor) {
		t, err := schema.LoadTable(e.Message.ProtoReflect().Descriptor(), e.Meaning)
		if err != nil {
			return nil, fmt.Errorf("read model: %w", err)
		}
		tables = append(tables, t)
	}
	vaults, err := vaultConfigs()
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	s, err := schema.New(tables, plugins, map[string][]*schema.Plugin{"vaults": vaults})
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	s.RouterFlavor = flavor
	return s, nil
}

func pluginMeaning() schema.Meaning {
	return schema.Meaning{UnknownName: func(name string) string {
		return "plugin '" + name + "' not enabled; add it to the 'plugins' configuration property"
	}}
}
