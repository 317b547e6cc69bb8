package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
)

// Bounds of a frame on the wire.
const (
	headerLen = 8        // type 1, length 3, crc 4
	maxFrame  = 16 << 10 // including the header
	offsetLen = 8        // a DATA payload begins with its offset
	dataStart = headerLen + offsetLen
	maxData   = maxFrame - dataStart
	maxText   = 255 // of a reason that is sent to the peer
)

type frameType byte

const (
	frameData frameType = 1 + iota
	frameAck
	framePing
	framePong
	frameFin
	frameReset
	frameStop
	frameConfirm
)

// payloadBounds are the possible lengths of a payload, by type.
var payloadBounds = [...]struct{ min, max int }{
	frameData:    {offsetLen + 1, offsetLen + maxData},
	frameAck:     {16, 16},
	framePing:    {8, 8},
	framePong:    {8, 8},
	frameFin:     {8, 8},
	frameReset:   {2, 2 + maxText},
	frameStop:    {0, 0},
	frameConfirm: {macLen, macLen},
}

// errViolation is wrapped by the error for everything that a peer must not send. It ends the path,
// never the stream.
var errViolation = errors.New("protocol violation")

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errViolation}, args...)...)
}

// castagnoli is the table of the polynomial for which CPUs have an instruction. It takes 0.13 ms to
// make, which a program that only shows a session does not need.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// frame is a frame in a buffer; payload is a part of that buffer.
type frame struct {
	typ     frameType
	payload []byte
}

// offset returns the number at the start of the payload of DATA, ACK, PING, PONG and FIN.
func (f frame) offset() uint64 { return binary.BigEndian.Uint64(f.payload) }

// limit returns the second number of an ACK.
func (f frame) limit() uint64 { return binary.BigEndian.Uint64(f.payload[8:]) }

// data returns the user's bytes in DATA.
func (f frame) data() []byte { return f.payload[offsetLen:] }

// parseHeader checks the first four bytes of a frame, and returns the length of the whole frame.
func parseHeader(b []byte) (int, error) {
	typ := int(b[0])
	if typ == 0 || typ >= len(payloadBounds) {
		return 0, violation("frame of type %d", typ)
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if bounds := payloadBounds[typ]; n < bounds.min || n > bounds.max {
		return 0, violation("frame of type %d with %d bytes", typ, n)
	}
	return headerLen + n, nil
}

// parseFrame reads the frame at the start of b. need is the frame's length. If b is incomplete,
// need is the number of bytes that must be there before the next call, and the frame is empty.
func parseFrame(b []byte) (f frame, need int, err error) {
	if len(b) < headerLen {
		return frame{}, headerLen, nil
	}
	need, err = parseHeader(b)
	if err != nil || len(b) < need {
		return frame{}, need, err
	}
	if got, want := frameSum(b[:need]), binary.BigEndian.Uint32(b[4:]); got != want {
		return frame{}, need, violation("crc of a frame of type %d is %08x, not %08x", b[0], got, want)
	}
	return frame{frameType(b[0]), b[headerLen:need]}, need, nil
}

// frameSum returns the CRC of a whole frame.
func frameSum(b []byte) uint32 {
	table := castagnoli()
	return crc32.Update(crc32.Checksum(b[:4], table), table, b[headerLen:])
}

// putHeader writes the header of the frame in b, without its CRC.
func putHeader(b []byte, typ frameType, payload int) {
	b[0], b[1], b[2], b[3] = byte(typ), byte(payload>>16), byte(payload>>8), byte(payload)
}

// seal writes the CRC of the frame in b, which is then ready to be sent.
func seal(b []byte) { binary.BigEndian.PutUint32(b[4:], frameSum(b)) }

// appendFrame appends a frame whose payload is the given parts.
func appendFrame(b []byte, typ frameType, parts ...[]byte) []byte {
	start := len(b)
	b = append(b, make([]byte, headerLen)...)
	for _, part := range parts {
		b = append(b, part...)
	}
	putHeader(b[start:], typ, len(b)-start-headerLen)
	seal(b[start:])
	return b
}

// appendNumbers appends a frame of numbers: ACK, PING, PONG, FIN.
func appendNumbers(b []byte, typ frameType, numbers ...uint64) []byte {
	var payload [16]byte
	p := payload[:0]
	for _, n := range numbers {
		p = binary.BigEndian.AppendUint64(p, n)
	}
	return appendFrame(b, typ, p)
}

// Codes of a RESET.
const (
	resetByUser = 1
	resetByEnd  = 2
)

func appendReset(b []byte, code uint16, text string) []byte {
	return appendFrame(b, frameReset, binary.BigEndian.AppendUint16(nil, code), []byte(clip(text)))
}

// clip shortens a reason to the length that is sent to a peer.
func clip(text string) string { return text[:min(len(text), maxText)] }
