//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sekifuda/sekifuda/dataplane"
)

// reopenOnHangUp has log files opened anew at every SIGHUP, until ctx ends: what logrotate
// sends after it has renamed them.
func reopenOnHangUp(ctx context.Context, dp *dataplane.DataPlane) {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	for {
		select {
		case <-hangUp:
			dp.Reopen()
		case <-ctx.Done():
			return
		}
	}
}
