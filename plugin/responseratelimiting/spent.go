package responseratelimiting

import (
	"math"
	"strconv"
	"strings"
)

// maxSpent bounds what one answer may say it spent: the largest number that Kong counts
// exactly.
const maxSpent = 1 << 53

// read reads "name=n, other=m" into spent, by limit. What is not a limit's, or no number
// above zero, says nothing. A fraction counts as the next whole number.
func (f *filter) read(header string, spent []int64) {
	for header != "" {
		var one string
		one, header, _ = strings.Cut(header, ",")
		name, value, ok := strings.Cut(one, "=")
		if !ok || strings.Contains(value, "=") {
			continue
		}
		i := f.find(strings.TrimSpace(name))
		if i < 0 {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(n > 0) || n > maxSpent {
			continue
		}
		spent[i] = int64(math.Ceil(n))
	}
}

func (f *filter) find(name string) int {
	for i := range f.limits {
		if f.limits[i].name == name {
			return i
		}
	}
	return -1
}
