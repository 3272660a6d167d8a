package config

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// checkProtocols holds a plugin to the protocols of the routes that it acts on.
func (c *Config) checkProtocols(ctx context.Context, m proto.Message) error {
	p, ok := m.(*entityv1.Plugin)
	if !ok {
		return nil
	}
	field, routes, err := c.routesOf(ctx, p)
	if err != nil {
		return err
	}
	if f := schema.CheckPluginProtocols(p.GetProtocols(), routes, field); f != nil {
		return f
	}
	return nil
}

// routesOf returns the protocols of the plugin's own route, or of its service's routes. A
// reference to what does not exist is left to the commit to find.
func (c *Config) routesOf(ctx context.Context, p *entityv1.Plugin) (field string, protocols [][]string, err error) {
	t := c.schema.Table("routes")
	if id := p.GetRoute(); id != "" {
		e, err := c.find(ctx, t, id, nil)
		if err != nil || e == nil {
			return "route", nil, err
		}
		return "route", [][]string{e.Message.(*entityv1.Route).GetProtocols()}, nil
	}
	id := p.GetService()
	if id == "" {
		return "service", nil, nil
	}
	for e, err := range c.each(ctx, t, &Under{Field: "service", ID: id}) {
		if err != nil {
			return "", nil, err
		}
		protocols = append(protocols, e.Message.(*entityv1.Route).GetProtocols())
	}
	return "service", protocols, nil
}
