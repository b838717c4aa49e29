// Package source brings bundles from where people keep them: a directory, an
// archive, a web server, a registry of images. Fetching is the work of OPA's
// downloader; what it fetches is held to limits, verified and compiled here,
// and handed on as a candidate. Whether a candidate comes into force is for
// others to say: only then it is kept, for the next start without network, and
// its serial becomes the one below which nothing is accepted.
package source
