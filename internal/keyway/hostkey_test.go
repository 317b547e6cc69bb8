package keyway

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestHostKeyIsHandedOver(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	line := MarshalHostKey(private)
	if len(line) != HostKeyLine {
		t.Fatalf("a line of %d bytes, not %d", len(line), HostKeyLine)
	}
	in := bytes.NewReader(append(line, "what follows"...))
	got, err := ReadHostKey(in)
	if err != nil || !got.Equal(private) {
		t.Fatalf("got %x, %v", got, err)
	}
	if in.Len() != len("what follows") {
		t.Errorf("%d bytes of what follows are left", in.Len())
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))); PublicHostKey(public) != want {
		t.Errorf("%s, not %s", PublicHostKey(public), want)
	}
}

func TestOtherThanAHostKeyIsRefused(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	line := string(MarshalHostKey(private))
	for what, in := range map[string]string{
		"nothing":       "",
		"a part":        line[:len(line)-1],
		"another magic": "keyway-host-key-2 " + line[len(hostKeyMagic):],
		"no line end":   line[:len(line)-1] + " ",
		"no base64":     strings.Repeat("!", HostKeyLine),
		"a short seed":  hostKeyMagic + strings.Repeat("=", 44) + "\n",
	} {
		if _, err := ReadHostKey(strings.NewReader(in)); err == nil {
			t.Errorf("%s was taken for a host key", what)
		} else if seed := strings.TrimSpace(line[len(hostKeyMagic):]); strings.Contains(err.Error(), seed) {
			t.Errorf("%s: the error quotes the key", what)
		}
	}
}

func FuzzReadHostKey(f *testing.F) {
	f.Add([]byte(hostKeyMagic + "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=\n"))
	f.Add([]byte(strings.Repeat("x", HostKeyLine)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if key, err := ReadHostKey(bytes.NewReader(in)); err == nil && !bytes.Equal(MarshalHostKey(key), in[:HostKeyLine]) {
			t.Errorf("%q was read as %q", in[:HostKeyLine], MarshalHostKey(key))
		}
	})
}
