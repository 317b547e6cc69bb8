package laptop

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"keyway/internal/sshconfig"
)

func TestSlowJump(t *testing.T) {
	for _, c := range []struct {
		said, want string
	}{
		{"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "bastion runs OpenSSH 9.2,"},
		{"SSH-2.0-OpenSSH_10.0\r\n", "bastion runs OpenSSH 10.0,"},
		{"Be warned.\r\nSSH-2.0-OpenSSH_for_Windows_9.5\r\n", "bastion runs OpenSSH 9.5,"},
		{"SSH-2.0-OpenSSH_10.1p1\r\n", ""},
		{"SSH-2.0-OpenSSH_11.0\r\n", ""},
		{"SSH-2.0-dropbear_2022.83\r\n", ""},
		{"SSH-2.0-OpenSSH_\r\n", ""},
		{"SSH-2.0-OpenSSH_-9.2\r\n", ""},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", ""},
		{strings.Repeat("no end ", 2000), ""},
		{"", ""},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			if conn, err := l.Accept(); err == nil {
				_, _ = io.WriteString(conn, c.said)
				conn.Close()
			}
		}()
		host, port, _ := net.SplitHostPort(l.Addr().String())
		jump := sshconfig.Host{Name: "bastion", HostName: host, Port: port}
		got := SlowJump(context.Background(), []sshconfig.Host{jump, {Name: "gpu1"}})
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%.40q: %q", c.said, got)
		}
		<-served
		l.Close()
		if got := SlowJump(context.Background(), []sshconfig.Host{jump}); got != "" {
			t.Errorf("without a jump host: %q", got)
		}
		jump.ProxyCommand = "nc %h %p"
		if got := SlowJump(context.Background(), []sshconfig.Host{jump, {Name: "gpu1"}}); got != "" {
			t.Errorf("through a command: %q", got)
		}
	}
}
