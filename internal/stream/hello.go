package stream

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Magic begins every path. No text begins with it, so a listener can tell a path from SSH by its
// first byte.
const Magic = "\x91KWS\r\n\x1a\n"

const (
	idLen    = 16
	keyLen   = 32
	nonceLen = 32
	macLen   = 32
	sigLen   = 64
	crcLen   = 4
)

// Kinds of a hello and of its answer.
const (
	kindOpen    = 1
	kindResume  = 2
	kindOpened  = 1
	kindResumed = 2
	kindRefused = 3
)

// Lengths of the messages, with all parts.
const (
	openLen       = len(Magic) + 1 + keyLen + nonceLen + crcLen
	resumeLen     = len(Magic) + 1 + idLen + 8 + nonceLen + 8 + 8 + macLen
	openedLen     = 1 + keyLen + nonceLen + sigLen + crcLen
	resumedLen    = 1 + nonceLen + 8 + 8 + macLen
	commitLen     = 8 + 8 + macLen
	refusedHead   = 3
	refusedTail   = sigLen + crcLen
	maxRefusedLen = refusedHead + maxText + refusedTail
)

// openHello requests a new stream.
type openHello struct {
	public [keyLen]byte
	nonce  [nonceLen]byte
}

func (h *openHello) encode() []byte {
	b := append([]byte(Magic), kindOpen)
	b = append(b, h.public[:]...)
	b = append(b, h.nonce[:]...)
	return appendSum(b)
}

// opened is the answer to openHello. The signature covers the hello, too.
type opened struct {
	public    [keyLen]byte
	nonce     [nonceLen]byte
	signature [sigLen]byte
}

// signed returns the part that the signature covers.
func (o *opened) signed() []byte {
	b := append([]byte{kindOpened}, o.public[:]...)
	return append(b, o.nonce[:]...)
}

func (o *opened) encode() []byte { return appendSum(append(o.signed(), o.signature[:]...)) }

// resumeHello requests the continuation of a stream.
type resumeHello struct {
	id       [idLen]byte
	epoch    uint64
	nonce    [nonceLen]byte
	received uint64
	limit    uint64
	mac      [macLen]byte
}

// covered returns the part that the MAC covers.
func (h *resumeHello) covered() []byte {
	b := append([]byte(Magic), kindResume)
	b = append(b, h.id[:]...)
	b = binary.BigEndian.AppendUint64(b, h.epoch)
	b = append(b, h.nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, h.received)
	return binary.BigEndian.AppendUint64(b, h.limit)
}

func (h *resumeHello) encode() []byte { return append(h.covered(), h.mac[:]...) }

// resumed is the answer to resumeHello.
type resumed struct {
	nonce    [nonceLen]byte
	received uint64
	limit    uint64
	mac      [macLen]byte
}

func (r *resumed) covered() []byte {
	b := append([]byte{kindResumed}, r.nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, r.received)
	return binary.BigEndian.AppendUint64(b, r.limit)
}

func (r *resumed) encode() []byte { return append(r.covered(), r.mac[:]...) }

// commit is the client's message after resumed; only this message changes the server.
type commit struct {
	received uint64
	limit    uint64
	mac      [macLen]byte
}

func (c *commit) covered() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, c.received), c.limit)
}

func (c *commit) encode() []byte { return append(c.covered(), c.mac[:]...) }

// refused is the other answer to both hellos.
type refused struct {
	code      Code
	text      string
	signature [sigLen]byte
}

func (r *refused) signed() []byte {
	return append([]byte{kindRefused, byte(r.code), byte(len(r.text))}, r.text...)
}

func (r *refused) encode() []byte { return appendSum(append(r.signed(), r.signature[:]...)) }

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

// checkSum returns b without the CRC at its end, if it is correct.
func checkSum(b []byte) ([]byte, error) {
	body := b[:len(b)-crcLen]
	if crc32.Checksum(body, castagnoli()) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, violation("crc of a handshake")
	}
	return body, nil
}

// cursor splits a message of known length.
type cursor []byte

func (c *cursor) bytes(to []byte) { *c = (*c)[copy(to, *c):] }

func (c *cursor) number() uint64 {
	n := binary.BigEndian.Uint64(*c)
	*c = (*c)[8:]
	return n
}

// readHello reads a client's first message. Exactly one of the two results is not nil.
func readHello(r io.Reader) (*openHello, *resumeHello, error) {
	var buf [max(openLen, resumeLen)]byte
	head := buf[:len(Magic)+1]
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	if !bytes.HasPrefix(head, []byte(Magic)) {
		return nil, nil, violation("no hello of a stream")
	}
	switch kind := head[len(Magic)]; kind {
	case kindOpen:
		h, err := readOpen(r, buf[:openLen], len(head))
		return h, nil, err
	case kindResume:
		h, err := readResume(r, buf[:resumeLen], len(head))
		return nil, h, err
	default:
		return nil, nil, violation("hello of kind %d", kind)
	}
}

func readOpen(r io.Reader, b []byte, have int) (*openHello, error) {
	if _, err := io.ReadFull(r, b[have:]); err != nil {
		return nil, err
	}
	body, err := checkSum(b)
	if err != nil {
		return nil, err
	}
	var h openHello
	c := cursor(body[have:])
	c.bytes(h.public[:])
	c.bytes(h.nonce[:])
	return &h, nil
}

func readResume(r io.Reader, b []byte, have int) (*resumeHello, error) {
	if _, err := io.ReadFull(r, b[have:]); err != nil {
		return nil, err
	}
	var h resumeHello
	c := cursor(b[have:])
	c.bytes(h.id[:])
	h.epoch = c.number()
	c.bytes(h.nonce[:])
	h.received = c.number()
	h.limit = c.number()
	c.bytes(h.mac[:])
	return &h, nil
}

// readKind reads the first byte of an answer.
func readKind(r io.Reader) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// readOpened reads the rest of an answer that began with kindOpened.
func readOpened(r io.Reader) (*opened, error) {
	var b [openedLen]byte
	b[0] = kindOpened
	if _, err := io.ReadFull(r, b[1:]); err != nil {
		return nil, err
	}
	body, err := checkSum(b[:])
	if err != nil {
		return nil, err
	}
	var o opened
	c := cursor(body[1:])
	c.bytes(o.public[:])
	c.bytes(o.nonce[:])
	c.bytes(o.signature[:])
	return &o, nil
}

// readResumed reads the rest of an answer that began with kindResumed.
func readResumed(r io.Reader) (*resumed, error) {
	var b [resumedLen - 1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	var a resumed
	c := cursor(b[:])
	c.bytes(a.nonce[:])
	a.received = c.number()
	a.limit = c.number()
	c.bytes(a.mac[:])
	return &a, nil
}

// readRefused reads the rest of an answer that began with kindRefused.
func readRefused(r io.Reader) (*refused, error) {
	var b [maxRefusedLen]byte
	b[0] = kindRefused
	if _, err := io.ReadFull(r, b[1:refusedHead]); err != nil {
		return nil, err
	}
	end := refusedHead + int(b[2])
	all := b[:end+refusedTail]
	if _, err := io.ReadFull(r, all[refusedHead:]); err != nil {
		return nil, err
	}
	body, err := checkSum(all)
	if err != nil {
		return nil, err
	}
	a := &refused{code: Code(b[1]), text: string(b[refusedHead:end])}
	copy(a.signature[:], body[end:])
	return a, nil
}

func readCommit(r io.Reader) (*commit, error) {
	var b [commitLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	var m commit
	c := cursor(b[:])
	m.received = c.number()
	m.limit = c.number()
	c.bytes(m.mac[:])
	return &m, nil
}
