package stream_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"

	"keyway/internal/stream"
)

// The connection below a stream is cut, and the written bytes arrive nevertheless.
func Example() {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	server, err := stream.NewServer(stream.ServerConfig{HostKey: private})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	paths := make(chan net.Conn, 16)
	client, err := stream.Dial(context.Background(), stream.Config{
		HostKey: public,
		Dial: func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			go server.Handle(context.Background(), far) // ends with the path
			paths <- near
			return near, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	accepted, err := server.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer accepted.Close()

	// Until the client has an answer of the server, it opens another stream if its path breaks.
	fmt.Fprint(accepted, "hello")
	if _, err := io.ReadFull(client, make([]byte, len("hello"))); err != nil {
		fmt.Println(err)
		return
	}
	(<-paths).Close() // the first path is gone
	fmt.Fprint(client, "nothing is lost")
	text := make([]byte, len("nothing is lost"))
	_, err = io.ReadFull(accepted, text)
	fmt.Println(string(text), err)
	// Output: nothing is lost <nil>
}
