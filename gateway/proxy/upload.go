package proxy

import (
	"io"
	"slices"
	"strconv"
	"sync"
)

const (
	// firstPart is how much of a body the client must have sent before a connection to the
	// upstream is taken; a shorter body must be there whole. Connections to an upstream are
	// few, and a client that sends next to nothing is to wait on its own.
	firstPart = 32 << 10
	// pieceSize is how much of the rest is read at a time.
	pieceSize = 32 << 10
	// pieceGrowth is by how much room is made for the first part as it arrives: who only
	// announces a body does not get the memory for it.
	pieceGrowth = 4 << 10
)

// pieces are the buffers that requests are written through.
var pieces = sync.Pool{New: func() any { return new([]byte) }}

// upload is the body of a request on its way to the upstream. Trailers are not passed on.
// Errors are those of the client's body, as the client is to hear of them.
type upload struct {
	body    io.Reader // nil: there is none
	chunked bool
	ended   bool // everything was handed out
}

// begin appends the first part of the body to the head of the request.
func (u *upload) begin(out []byte) ([]byte, error) {
	if u.body == nil {
		u.ended = true
		return out, nil
	}
	head := len(out)
	out = u.room(out)
	var err error
	for read := 0; err == nil && read < firstPart; {
		out = slices.Grow(out, pieceGrowth)
		var n int
		n, err = u.body.Read(out[len(out):cap(out)])
		out, read = out[:len(out)+n], read+n
	}
	return u.frame(out, head, err)
}

// next returns what arrived since, which may be nothing, in the memory of out.
func (u *upload) next(out []byte) ([]byte, error) {
	out = slices.Grow(u.room(out[:0]), pieceSize)
	n, err := u.body.Read(out[len(out) : len(out)+pieceSize])
	return u.frame(out[:len(out)+n], 0, err)
}

// chunkHead is room for the length of a chunk and its CRLF.
const chunkHead = "ffffffff\r\n"

func (u *upload) room(out []byte) []byte {
	if !u.chunked {
		return out
	}
	return append(out, chunkHead...)
}

// frame makes what was read behind start one chunk, where the body is chunked, and appends
// the last chunk at its end. err is that of the reading.
func (u *upload) frame(out []byte, start int, err error) ([]byte, error) {
	if err != nil && err != io.EOF {
		return out[:0], err
	}
	u.ended = err == io.EOF
	if !u.chunked {
		return out, nil
	}
	data := out[start+len(chunkHead):]
	out = out[:start]
	if len(data) > 0 {
		out = strconv.AppendInt(out, int64(len(data)), 16)
		out = append(out, "\r\n"...)
		out = append(out, data...) // to the left, over the room that the length did not need
		out = append(out, "\r\n"...)
	}
	if u.ended {
		out = append(out, "0\r\n\r\n"...)
	}
	return out, nil
}
