// Package engine serves HTTP at the gate: it listens, reads requests, leads each through the
// filters of its route and to its upstream, and writes the answer.
//
// It knows protocols and the order of an exchange's life; it does not know what filters do,
// how routes are matched, or where configuration comes from. All protocols share one exchange:
// what differs between HTTP/1.1 and HTTP/2 is behind the client interface.
//
// Enter at New, Engine.Serve and Engine.Swap; an exchange's life is exchange.run.
package engine
