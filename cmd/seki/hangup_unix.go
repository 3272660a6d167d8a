//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// onHangUp does what do tells at every SIGHUP, until ctx ends: what logrotate sends after it has
// renamed log files, and who renews certificates after that.
func onHangUp(ctx context.Context, do func() []func()) {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	for {
		select {
		case <-hangUp:
			for _, f := range do() {
				f()
			}
		case <-ctx.Done():
			return
		}
	}
}
