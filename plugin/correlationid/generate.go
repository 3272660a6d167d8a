package correlationid

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/sekifuda/sekifuda/plugin"
)

const uuidLen = 36

// appendUUID appends a random uuid (version 4). The generator is the runtime's ChaCha8,
// seeded by the system: it takes no lock and is not guessed.
func appendUUID(b []byte) []byte {
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	for i, part := range [5][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, raw[part[0]:part[1]])
	}
	return b
}

func random(x *plugin.Exchange) string {
	var b [uuidLen]byte
	return x.Text(appendUUID(b[:0]))
}

func (f *filter) counted(x *plugin.Exchange) string {
	var b [uuidLen + 1 + 20]byte
	id := append(append(b[:0], f.base[:]...), '#')
	return x.Text(strconv.AppendUint(id, f.counter.Add(1), 10))
}

var pid = int64(os.Getpid())

// tracker is ip-port-pid-connection-requests-time. Where Kong has nginx's number of the
// connection there is the client's port, and the number of the request is the
// configuration's: together they do not come twice either.
func (f *filter) tracker(x *plugin.Exchange) string {
	var b [128]byte
	id := x.Local.Addr().Unmap().AppendTo(b[:0])
	ms := x.Times.Start.UnixMilli()
	for _, n := range [4]int64{int64(x.Local.Port()), pid, int64(x.Peer.Port()), int64(f.counter.Add(1))} {
		id = strconv.AppendInt(append(id, '-'), n, 10)
	}
	id = strconv.AppendInt(append(id, '-'), ms/1000, 10)
	ms %= 1000
	return x.Text(append(id, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10)))
}
