package mux

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// echoing serves one connection of SSH that changes its keys each megabyte, and echoes the bytes of
// its channels.
func echoing(t *testing.T, conn net.Conn, key ssh.Signer) {
	config := &ssh.ServerConfig{Config: ssh.Config{RekeyThreshold: 1 << 20}, NoClientAuth: true}
	config.AddHostKey(key)
	server, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		t.Error(err)
		return
	}
	defer server.Close()
	go ssh.DiscardRequests(requests) // until the connection ends
	var echoes sync.WaitGroup
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		go ssh.DiscardRequests(requests)
		echoes.Go(func() {
			_, _ = io.Copy(channel, channel)
			channel.Close()
		})
	}
	echoes.Wait()
}

// TestKeysChangeUnderSessions checks that the keys of a connection can change while sessions begin
// and bytes flow, when writes are held back.
func TestKeysChangeUnderSessions(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		if conn, err := l.Accept(); err == nil {
			echoing(t, conn, key)
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	wire := &observed{Conn: conn}
	client, channels, requests, err := ssh.NewClientConn(wire, "workspace", &ssh.ClientConfig{
		Config: ssh.Config{RekeyThreshold: 1 << 20}, HostKeyCallback: ssh.FixedHostKey(key.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// A hang fails here, and not at the time limit of the whole package.
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	go func() {
		for range channels {
		}
	}()
	if len(wire.signature()) == 0 {
		t.Error("the host's signature was not seen")
	}
	// The library answers the end of a channel on the goroutine that reads packets. While keys
	// change, that answer waits behind 64 other packets (maxPendingPackets), and the packet that
	// ends the change is not read: the connection hangs. So the channels are closed only after all
	// bytes have arrived.
	var sessions sync.WaitGroup
	for range 4 {
		channel, requests, err := client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		defer channel.Close()
		sessions.Go(func() { echo(t, wire, channel) })
	}
	sessions.Wait()
}

// echo sends 4 MiB and expects them back.
func echo(t *testing.T, wire *observed, channel ssh.Channel) {
	const piece, pieces = 16 << 10, 256
	var reading sync.WaitGroup
	reading.Go(func() {
		got := make([]byte, piece)
		for i := range pieces {
			if _, err := io.ReadFull(channel, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, piece)) {
				t.Errorf("piece %d: %v", i, err)
				channel.Close()
				return
			}
		}
	})
	for i := range pieces {
		wire.together(func() {
			if _, err := channel.Write(bytes.Repeat([]byte{byte(i)}, piece)); err != nil {
				t.Error(err)
			}
		})
	}
	reading.Wait()
}
