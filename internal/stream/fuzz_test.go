package stream

import (
	"bytes"
	"context"
	"io"
	"testing"
)

// frameSeeds returns one frame of each type, and some invalid ones.
func frameSeeds() [][]byte {
	seeds := [][]byte{
		appendFrame(nil, frameData, make([]byte, offsetLen), []byte("SSH-2.0-OpenSSH_9.9\r\n")),
		appendNumbers(nil, frameAck, 1<<40, 1<<40+smallWindow),
		appendNumbers(nil, framePing, 7),
		appendNumbers(nil, framePong, 7),
		appendNumbers(nil, frameFin, 1<<63),
		appendReset(nil, resetByUser, "the disk is full"),
		appendFrame(nil, frameStop),
		appendFrame(nil, frameConfirm, make([]byte, macLen)),
	}
	broken := bytes.Clone(seeds[0])
	broken[20] ^= 1
	return append(seeds, broken, []byte{1, 0xff, 0xff, 0xff}, []byte{9, 0, 0, 0, 0, 0, 0, 0}, bytes.Join(seeds, nil))
}

// helloSeeds returns one of each message of a handshake.
func helloSeeds() [][]byte {
	return [][]byte{
		(&openHello{public: [32]byte{1}, nonce: [32]byte{2}}).encode(),
		(&resumeHello{id: [16]byte{3}, epoch: 4, nonce: [32]byte{5}, received: 6, limit: 7, mac: [32]byte{8}}).encode(),
		(&opened{public: [32]byte{1}, nonce: [32]byte{2}, signature: [64]byte{3}}).encode(),
		(&resumed{nonce: [32]byte{1}, received: 2, limit: 3, mac: [32]byte{4}}).encode(),
		(&refused{code: CodeExpired, text: "nobody came back for 24h0m0s", signature: [64]byte{1}}).encode(),
		(&commit{received: 1, limit: 2, mac: [32]byte{3}}).encode(),
	}
}

// TestSeedsCoverEverything checks the corpora of the fuzz tests, because a fuzz test with an empty
// corpus tests nothing.
func TestSeedsCoverEverything(t *testing.T) {
	types := map[frameType]bool{}
	for _, b := range frameSeeds() {
		if f, _, err := parseFrame(b); err == nil && f.typ != 0 {
			types[f.typ] = true
		}
	}
	if len(types) != int(frameConfirm) {
		t.Errorf("seeds of %d types of frames, there are %d", len(types), frameConfirm)
	}
	var open, resume int
	for _, b := range helloSeeds() {
		switch o, r, err := readHello(bytes.NewReader(b)); {
		case err == nil && o != nil:
			open++
		case err == nil && r != nil:
			resume++
		}
	}
	if open != 1 || resume != 1 {
		t.Errorf("%d seeds open, %d resume", open, resume)
	}
}

// FuzzFrame checks that a parsed frame is encoded to the same bytes again, and uses no more memory
// than its length.
func FuzzFrame(f *testing.F) {
	for _, b := range frameSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, need, err := parseFrame(b)
		switch {
		case err != nil:
			return
		case need > maxFrame || need < headerLen:
			t.Fatalf("needs %d bytes", need)
		case fr.typ == 0:
			if len(b) >= need {
				t.Fatalf("%d bytes are not enough for %d", len(b), need)
			}
			return
		}
		if again := appendFrame(nil, fr.typ, fr.payload); !bytes.Equal(again, b[:need]) {
			t.Fatalf("%x becomes %x", b[:need], again)
		}
	})
}

func FuzzHello(f *testing.F) {
	for _, b := range helloSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		open, resume, err := readHello(r)
		if err != nil {
			return
		}
		if (open == nil) == (resume == nil) {
			t.Fatal("not exactly one hello")
		}
		var again []byte
		if open != nil {
			again = open.encode()
		} else {
			again = resume.encode()
		}
		if read := len(b) - r.Len(); !bytes.Equal(again, b[:read]) {
			t.Fatalf("%x becomes %x", b[:read], again)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, b := range helloSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		kind, err := readKind(r)
		if err != nil {
			return
		}
		var again []byte
		switch kind {
		case kindOpened:
			var m *opened
			if m, err = readOpened(r); err == nil {
				again = m.encode()
			}
		case kindResumed:
			var m *resumed
			if m, err = readResumed(r); err == nil {
				again = m.encode()
			}
		case kindRefused:
			var m *refused
			if m, err = readRefused(r); err == nil {
				again = m.encode()
			}
		default:
			return
		}
		if read := len(b) - r.Len(); err == nil && !bytes.Equal(again, b[:read]) {
			t.Fatalf("%x becomes %x", b[:read], again)
		}
	})
}

func FuzzCommit(f *testing.F) {
	for _, b := range helloSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readCommit(bytes.NewReader(b))
		if err == nil && !bytes.Equal(m.encode(), b[:commitLen]) {
			t.Fatalf("%x becomes %x", b[:commitLen], m.encode())
		}
	})
}

// FuzzPeer sends a whole path of hostile frames to a running server. It checks that memory stays
// bounded, and that only bytes of correct frames reach the user.
func FuzzPeer(f *testing.F) {
	for _, b := range frameSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := NewServer(ServerConfig{HostKey: fixedKey, Budget: NewBudget(1 << 20)})
		if err != nil {
			t.Fatal(err)
		}
		line := newLine()
		done := make(chan struct{})
		go func() { defer close(done); s.Handle(context.Background(), line.far) }()
		line.near.Write((&openHello{public: [32]byte{9}}).encode())
		c, err := s.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, line.near)
		line.near.Write(b)
		line.up.closeWrite()
		<-done
		c.mu.Lock()
		live, held := c.wire.rx.live, c.wire.tx.held
		c.mu.Unlock()
		if live > 2*largeChunk+len(b) || held > smallSlab {
			t.Errorf("%d bytes of frames hold %d and %d", len(b), live, held)
		}
		got := readNow(c)
		if !bytes.Equal(got, carried(b)) {
			t.Errorf("the user gets %d bytes, the frames carry %d", len(got), len(carried(b)))
		}
		s.Close()
		line.cut()
	})
}

// readNow reads the available bytes.
func readNow(c *Conn) []byte {
	var got []byte
	buf := make([]byte, 4096)
	for {
		c.mu.Lock()
		n := c.wire.rx.read(buf)
		c.mu.Unlock()
		if n == 0 {
			return got
		}
		got = append(got, buf[:n]...)
	}
}

// carried returns the bytes that the user may get from the frames in b, by the simplest reading of
// the protocol's description.
func carried(b []byte) []byte {
	var got []byte
	for {
		f, n, err := parseFrame(b)
		if err != nil || f.typ == 0 {
			return got
		}
		b = b[n:]
		switch f.typ {
		case frameData:
			end := f.offset() + uint64(len(f.data()))
			switch {
			case end < f.offset() || f.offset() > uint64(len(got)) || end > smallWindow:
				return got
			case end > uint64(len(got)):
				got = append(got, f.data()[uint64(len(got))-f.offset():]...)
			}
		case frameAck:
			if f.offset() > 0 { // nothing was sent
				return got
			}
		case frameFin, frameReset, frameConfirm:
			return got
		}
	}
}
