package logentry

import "fmt"

// Severities are syslog's: the most severe is 0.
var Severities = map[string]int{
	"emerg": 0, "alert": 1, "crit": 2, "err": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7,
}

// Levels say how severe an exchange is, and from when on it is logged.
type Levels struct {
	least, successful, clientErrors, serverErrors int
}

// ReadLevels reads names of severities; "" is info.
func ReadLevels(least, successful, clientErrors, serverErrors string) (l Levels, err error) {
	for _, s := range [...]struct {
		field, value string
		into         *int
	}{
		{"log_level", least, &l.least},
		{"successful_severity", successful, &l.successful},
		{"client_errors_severity", clientErrors, &l.clientErrors},
		{"server_errors_severity", serverErrors, &l.serverErrors},
	} {
		if s.value == "" {
			s.value = "info"
		}
		n, ok := Severities[s.value]
		if !ok {
			return l, fmt.Errorf("config.%s: unknown value %q", s.field, s.value)
		}
		*s.into = n
	}
	return l, nil
}

// Of returns the severity of an answer, and whether it is logged.
func (l Levels) Of(status int) (severity int, logged bool) {
	severity = l.successful
	switch {
	case status >= 500:
		severity = l.serverErrors
	case status >= 400:
		severity = l.clientErrors
	}
	return severity, severity <= l.least
}
