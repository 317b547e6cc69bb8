package link

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// ssh runs the program in SSH_ASKPASS with a question as its argument and reads the answer from its
// standard output. That program is keyway itself. These two variables lead it to the link, which
// asks the command that waits for the place.
const (
	askpassSocketEnv = "KEYWAY_ASKPASS_SOCKET"
	askpassSecretEnv = "KEYWAY_ASKPASS_SECRET"
)

func askpassEnv(program, socket, secret string) []string {
	return []string{
		"SSH_ASKPASS=" + program, "SSH_ASKPASS_REQUIRE=force",
		askpassSocketEnv + "=" + socket, askpassSecretEnv + "=" + secret,
	}
}

// askpassRequest is the body of POST /v1/askpass.
type askpassRequest struct {
	Secret string `json:"secret"` // that of the asking ssh
	Prompt string `json:"prompt"`
	Host   string `json:"host"` // the host that it connects to
	Kind   string `json:"kind"` // SSH_ASKPASS_PROMPT
}

func (l *Link) askpass(w http.ResponseWriter, r *http.Request) {
	var req askpassRequest
	if err := api.ReadJSON(r.Body, 64<<10, &req); err != nil {
		api.WriteError(w, err)
		return
	}
	l.mu.Lock()
	a := l.asks[req.Secret]
	l.mu.Unlock()
	if a == nil {
		api.WriteError(w, keyway.Errorf(keyway.NotFound, "nobody waits for this ssh any more"))
		return
	}
	api.WriteJSON(w, a.ask(r.Context(), api.Question{ID: rand.Text(), Prompt: req.Prompt, Kind: req.Kind, Host: req.Host}))
}

// Askpass answers for ssh if this process was started as its SSH_ASKPASS. Then ok is true, and the
// process must exit with code. args are the program's arguments: ssh passes exactly one, the
// question. isCommand reports whether that is a keyway command instead, which another program below
// that ssh (a Match exec, for example) runs.
func Askpass(ctx context.Context, args []string, isCommand func(string) bool, stdout io.Writer) (code int, ok bool) {
	socket, secret := os.Getenv(askpassSocketEnv), os.Getenv(askpassSecretEnv)
	if socket == "" || secret == "" || len(args) != 1 || isCommand(args[0]) {
		return 0, false
	}
	kind := os.Getenv("SSH_ASKPASS_PROMPT")
	if kind == "" && isYesNo(args[0]) {
		kind = "text" // ssh sets no kind for answers that may be shown while typed
	}
	var answer api.Answer
	err := newClient(socket).Do(ctx, http.MethodPost, "/v1/askpass", askpassRequest{Secret: secret, Prompt: args[0], Kind: kind, Host: os.Getenv(hopNameEnv)}, &answer)
	if err != nil || !answer.OK {
		return 1, true
	}
	fmt.Fprintln(stdout, answer.Text)
	return 0, true
}

// isYesNo recognizes ssh's question about an unknown host key, whose answer may be shown. A
// question from a host begins with the host's name.
func isYesNo(prompt string) bool {
	return strings.HasPrefix(prompt, "The authenticity of host ") || strings.HasPrefix(prompt, "Please type 'yes'") ||
		strings.HasPrefix(prompt, "Accept updated hostkeys? (yes/no)")
}
