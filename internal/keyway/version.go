package keyway

// Version is set when a release is built (-ldflags -X); a plain go build says
// devel.
var Version = "devel"
