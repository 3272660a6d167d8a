package telemetry

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// appendMemory writes what this process holds and may hold, where the system tells it.
func appendMemory(b []byte) []byte {
	if n := statusBytes("/proc/self/status", "VmRSS:"); n > 0 {
		b = head(b, "sekifuda_process_resident_bytes", "gauge", "Bytes of memory that the process holds.")
		b = line(b, "sekifuda_process_resident_bytes", "", n)
	}
	if n := memoryLimit(); n > 0 {
		b = head(b, "sekifuda_memory_limit_bytes", "gauge", "Bytes of memory that the process may hold: the limit of its container, else the machine's memory.")
		b = line(b, "sekifuda_memory_limit_bytes", "", n)
	}
	return b
}

func memoryLimit() uint64 {
	machine := statusBytes("/proc/meminfo", "MemTotal:")
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "max", or more than there is, means no limit.
		if n, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64); err == nil && (machine == 0 || n < machine) {
			return n
		}
	}
	return machine
}

// statusBytes reads a line "Name:   123 kB" of the system's.
func statusBytes(path, name string) uint64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(raw, []byte("\n"+name))
	if !ok {
		if rest, ok = bytes.CutPrefix(raw, []byte(name)); !ok {
			return 0
		}
	}
	fields := bytes.Fields(rest[:min(len(rest), 64)])
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
