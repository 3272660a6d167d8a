package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

// profileEnv names a file for a profile of the process's CPU time, which make pgo feeds to the
// compiler. It is no flag: nobody needs it to run a gateway.
const profileEnv = "SEKI_CPU_PROFILE"

// profile begins a profile where the environment asks for one, and returns what ends it.
func profile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", profileEnv, err)
	}
	// Most samples of a proxy are in system calls. The rate of the package is too low for what
	// is left; this is the one way to another, and it is met with a line on stderr.
	runtime.SetCPUProfileRate(1000)
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("%s: %w", profileEnv, err)
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}
