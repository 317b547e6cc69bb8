//go:build unix

package feed

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// pair returns both ends of a connection over a unix socket or the loopback.
func pair(t *testing.T, network string) (server, client net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	late := time.Now().Add(20 * time.Second)
	_ = server.SetDeadline(late)
	_ = client.SetDeadline(late)
	t.Cleanup(func() { _ = server.Close(); _ = client.Close() })
	return server, client
}

// frameOf returns a frame that a server sends.
func frameOf(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, payload...)
}

// left returns the bytes that another reader of the connection would receive. No more bytes may
// follow.
func left(t *testing.T, server, client net.Conn) []byte {
	t.Helper()
	_ = server.Close()
	rest, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	return rest
}

// TestLeavesWhatIsNotTaken checks that messages that were read and not taken stay on the connection
// for another reader.
func TestLeavesWhatIsNotTaken(t *testing.T) {
	one, two, ping := frameOf(0x82, []byte("one")), frameOf(0x82, bytes.Repeat([]byte("2"), 20_000)), frameOf(0x89, []byte("ping"))
	for _, network := range []string{"unix", "tcp"} {
		server, client := pair(t, network)
		f, err := New(client, true)
		if err != nil {
			t.Fatal(err)
		}
		read := func(n int) {
			t.Helper()
			if _, err := io.ReadFull(f, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = server.Write(bytes.Join([][]byte{ping, one, two, one[:1]}, nil))
		read(len(ping) + len(one))
		if !f.More() {
			t.Error("another message is there")
		}
		if n, err := f.Read(make([]byte, 1<<20)); n != len(two) || err != nil || f.More() {
			t.Errorf("read beyond a message: %d bytes, %v, more %v", n, err, f.More())
		}
		if err := f.Taken(); err != nil {
			t.Error(err)
		}
		_, _ = server.Write(append(one[1:], one...))
		read(len(one))
		if got := left(t, server, client); !bytes.Equal(got, append(one, one...)) {
			t.Errorf("%s: left are %d bytes", network, len(got))
		}
	}
}

// TestLarge checks a message that is larger than the operating system's buffer, and the message
// after it.
func TestLarge(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"a large frame": {frameOf(0x82, make([]byte, 5<<20))},
		"in fragments":  {frameOf(0x02, []byte("a")), frameOf(0x89, nil), frameOf(0x00, []byte("b")), frameOf(0x80, []byte("c"))},
	} {
		server, client := pair(t, "unix")
		f, _ := New(client, true)
		all := bytes.Join(frames, nil)
		go func() { _, _ = server.Write(append(all, frameOf(0x82, []byte("next"))...)) }() // ends with the connection
		if _, err := io.ReadFull(f, make([]byte, len(all))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.Taken(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n, err := f.Read(make([]byte, 100)); err != nil || n != len("\x82\x04next") || f.at != n {
			t.Errorf("%s: after it: %d bytes, %v", name, n, err)
		}
	}
}

// TestByteByByte checks a frame that arrives byte by byte, and the frames after it.
func TestByteByByte(t *testing.T) {
	server, client := pair(t, "unix")
	f, _ := New(client, true)
	frame := frameOf(0x82, make([]byte, 300))
	for i := range frame {
		_, _ = server.Write(frame[i : i+1])
		if n, err := f.Read(make([]byte, 100)); n != 1 || err != nil {
			t.Fatal(i, n, err)
		}
	}
	if err := f.Taken(); err != nil {
		t.Fatal(err)
	}
	next := frameOf(0x82, []byte("next"))
	_, _ = server.Write(append(next, next...))
	if n, err := f.Read(make([]byte, 100)); n != len(next) || err != nil || !f.More() {
		t.Error(n, err, f.More())
	}
}

// TestEnd checks a connection that ends in the middle of a frame, or of its header.
func TestEnd(t *testing.T) {
	for _, sent := range [][]byte{{}, {0x82}, frameOf(0x82, []byte("whole"))[:4]} {
		server, client := pair(t, "unix")
		f, _ := New(client, true)
		go func() { _, _ = server.Write(sent); _ = server.Close() }() // ends at once
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%x: %x, %v", sent, got, err)
		}
	}
}

// TestWebsocket checks messages of all sizes with the websocket library that is used, after a real
// handshake.
func TestWebsocket(t *testing.T) {
	server, client := pair(t, "unix")
	f, _ := New(client, false)
	sizes := rand.New(rand.NewPCG(1, 2))
	var all [][]byte
	for i := range 500 {
		all = append(all, bytes.Repeat([]byte(fmt.Sprint(i)), sizes.IntN(20)*sizes.IntN(1000)+1))
	}
	go func() { // ends with the connection
		request := make([]byte, 4<<10)
		_, _ = server.Read(request)
		go func() { _, _ = io.Copy(io.Discard, server) }() // pongs
		up := bytes.Buffer{}
		up.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept(request) + "\r\n\r\n")
		for i, m := range all {
			if i%7 == 0 {
				up.Write(frameOf(0x89, []byte("ping")))
			}
			up.Write(frameOf(0x82, m))
		}
		_, _ = server.Write(up.Bytes())
	}()
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return f, nil }}
	conn, _, err := d.Dial("ws://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range all {
		_, got, err := conn.ReadMessage()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("message %d: %d bytes, not %d, %v", i, len(got), len(want), err)
		}
		if !f.More() {
			if err := f.Taken(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRefusedHandshake checks that an answer that refuses the websocket is read unchanged.
func TestRefusedHandshake(t *testing.T) {
	server, client := pair(t, "tcp")
	f, _ := New(client, false)
	const answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found"
	go func() { _, _ = io.WriteString(server, answer); _ = server.Close() }() // ends at once
	if got, err := io.ReadAll(f); string(got) != answer || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzFeed checks that the feed reads the bytes of a server as they were sent.
func FuzzFeed(fuzz *testing.F) {
	fuzz.Add([]byte("\x82\x01a\x89\x00\x02\x01b\x80\x01c\x82\x7e\x00\x01"), uint8(3))
	fuzz.Add([]byte("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffabc"), uint8(1))
	fuzz.Fuzz(func(t *testing.T, sent []byte, step uint8) {
		server, client := pair(t, "unix")
		f, _ := New(client, true)
		go func() { _, _ = server.Write(sent); _ = server.Close() }() // ends at once
		var got []byte
		for p := make([]byte, int(step)+1); ; {
			n, err := f.Read(p)
			got = append(got, p[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("%x, not %x", got, sent)
		}
	})
}

// accept returns the answer to a handshake's key.
func accept(request []byte) string {
	_, rest, _ := bytes.Cut(request, []byte("Sec-WebSocket-Key: "))
	key, _, _ := bytes.Cut(rest, []byte("\r\n"))
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.EncodeToString(sum[:])
}
