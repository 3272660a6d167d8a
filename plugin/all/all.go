// Package all is the list of the plugins of this build. Each is a folder beside it; the list
// is made of them by `make generate`, and nothing else needs to know a new one.
package all

//go:generate go run ../../cmd/seki-gen plugins
