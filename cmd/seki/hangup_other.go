//go:build !unix

package main

import (
	"context"

	"github.com/sekifuda/sekifuda/dataplane"
)

func reopenOnHangUp(context.Context, *dataplane.DataPlane) {}
