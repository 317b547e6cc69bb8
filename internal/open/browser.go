package open

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
)

// errNoDisplay means that there is no display for a browser.
var errNoDisplay = errors.New("there is no display")

// Browser shows a URL in the user's browser, or in the program that the URL's scheme
// belongs to, and does not wait for it.
func Browser(url string) error {
	argv, err := browser(runtime.GOOS, os.Getenv, url)
	if err != nil {
		return err
	}
	return Begin(argv)
}

// browser returns the command that shows a URL. $BROWSER is left to xdg-open, where
// it may be a list.
func browser(goos string, getenv func(string) string, url string) ([]string, error) {
	switch goos {
	case "darwin":
		return []string{"open", url}, nil
	case "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler", url}, nil
	}
	if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" && getenv("BROWSER") == "" {
		return nil, errNoDisplay
	}
	return []string{"xdg-open", url}, nil
}

// Begin starts a program that outlives this one and its terminal.
func Begin(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}
