package llm

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Usage is what a call to a model used so far, in tokens.
type Usage struct{ Prompt, Completion int64 }

// metering is what plugins tell each other of an exchange's use.
type metering struct {
	usage   Usage
	metered bool
	final   bool
	asked   bool
	hear    []func(Usage)
}

// Meter says that this plugin reports the exchange's use, so that others need not read answers.
func Meter(x *plugin.Exchange) { stateOf(x).metered = true }

// Metered reports whether some plugin said so.
func Metered(x *plugin.Exchange) bool { return stateOf(x).metered }

// Report says what was used so far. The last report is final; it may come before the head of the
// answer is sent.
func Report(x *plugin.Exchange, u Usage, final bool) {
	s := stateOf(x)
	s.usage = u
	if final && !s.final {
		s.final = true
		for _, f := range s.hear {
			f(u)
		}
	}
}

// Reported returns the last report.
func Reported(x *plugin.Exchange) Usage { return stateOf(x).usage }

// OnUsage has f called with the final report, if one comes.
func OnUsage(x *plugin.Exchange, f func(Usage)) {
	s := stateOf(x)
	s.hear = append(s.hear, f)
}

// AskUsage has the answer of a streamed request tell its use, and notes that the client did not
// ask for it: what only tells that is kept from it. The request is changed when that is needed.
func AskUsage(x *plugin.Exchange, request Object) {
	if request["stream"] != true {
		return
	}
	options, _ := request["stream_options"].(Object)
	if _, said := options["include_usage"]; said {
		return
	}
	if options == nil {
		options = Object{}
		request["stream_options"] = options
	}
	options["include_usage"] = true
	Store(x, request)
	stateOf(x).asked = true
}

// UsageAsked reports whether AskUsage changed the request.
func UsageAsked(x *plugin.Exchange) bool { return stateOf(x).asked }

// OnlyUsage reports whether a chunk of a stream is the one that AskUsage had added.
func OnlyUsage(chunk Object) bool {
	choices, ok := chunk["choices"].([]any)
	return ok && len(choices) == 0 && chunk["usage"] != nil
}

// usages are where answers and events of streams tell their use, as the paths of the prompt's and
// the answer's: OpenAI, OpenAI's responses and Anthropic, events of both, Ollama, Gemini.
var usages = [...][2][]string{
	{{"usage", "prompt_tokens"}, {"usage", "completion_tokens"}},
	{{"usage", "input_tokens"}, {"usage", "output_tokens"}},
	{{"response", "usage", "input_tokens"}, {"response", "usage", "output_tokens"}},
	{{"message", "usage", "input_tokens"}, {"message", "usage", "output_tokens"}},
	{{"prompt_eval_count"}, {"eval_count"}},
	{{"usageMetadata", "promptTokenCount"}, {"usageMetadata", "candidatesTokenCount"}},
}

// Read takes over what an answer or an event tells, and reports whether it tells anything.
// Counts only grow: some servers tell the two at different times, or the answer's as it grows.
func (u *Usage) Read(o Object) (told bool) {
	for _, paths := range usages {
		prompt, completion := Inner(o, paths[0]...), Inner(o, paths[1]...)
		if prompt == nil && completion == nil {
			continue
		}
		u.Prompt, u.Completion = max(u.Prompt, Number(prompt)), max(u.Completion, Number(completion))
		return true
	}
	return false
}

// Number reads a count; 0 for what is none.
func Number(v any) int64 {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	if i, err := n.Int64(); err == nil {
		return i
	}
	f, _ := n.Float64() // it was decoded as a number
	return int64(min(max(f, math.MinInt32), 1<<53))
}

// Inner returns the member of a member, and so on; nil if one is not there.
func Inner(v any, path ...string) any {
	for _, name := range path {
		o, ok := v.(Object)
		if !ok {
			return nil
		}
		v = o[name]
	}
	return v
}

// picture is about what a picture counts as.
const picture = 1000

// Tokens is about how many tokens the texts in v are: a quarter of the bytes of Latin ones, one
// for each other letter. It is 0 for what has none.
func Tokens(v any) int64 {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "data:") {
			return picture
		}
		return textTokens(v)
	case []any:
		var n int64
		for _, one := range v {
			n += Tokens(one)
		}
		return n
	case Object:
		var n int64
		for _, one := range v {
			n += Tokens(one)
		}
		return n
	}
	return 0
}

func textTokens(s string) int64 {
	var plain, others int64
	for _, r := range s {
		if r < 0x80 {
			plain++
		} else {
			others++
		}
	}
	return (plain+3)/4 + others
}
