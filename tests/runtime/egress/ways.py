"""Every way out of a browser that we know, as small pages. BAD is the forbidden host, PORT its port, OWN a port of it
that this way alone uses, BADOWN the host at that port, GOOD the site that the page comes from.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Way:
    """One way out. `OWN` in it gives it a port of its own, for what can't name a path."""

    name: str
    html: str
    headers: dict[str, str] = field(default_factory=dict)
    leaves: bool = False
    """Whether it happens when the page is left."""
    silent: str = ""
    """Why a headless shell over plain http doesn't take it even without a wall: a whole browser has to be asked, over
    https and with a profile of its own. Empty for a way that every browser takes."""

    @property
    def own_port(self) -> bool:
        """Whether it is known by its port."""
        return "OWN" in self.html or any("OWN" in value for value in self.headers.values())


def _frame(inner: str) -> str:
    return f'<iframe src="{inner}"></iframe>'


def _script(code: str) -> str:
    return f"<script>const quiet = p => Promise.resolve(p).catch(() => 0), open = {{mode: 'no-cors'}};\n{code}</script>"


def _worker(kind: str, code: str) -> str:
    return _script(f"new {kind}(URL.createObjectURL(new Blob([`{code}`], {{type: 'text/javascript'}})))")


def _by_host(name: str, host: str, silent: str = "") -> Way:
    return Way(name, _script(f"quiet(fetch('http://{host}/{name}', open))"), silent=silent)


_ICE = """const p = new RTCPeerConnection({iceServers: [SERVER]});
p.createDataChannel('x'); p.createOffer().then(o => p.setLocalDescription(o))"""

WAYS = (
    # --- redirects of every kind
    *(
        Way(f"redirect-{code}", _frame(f"GOOD/go?code={code}&to=BAD/redirect-{code}"))
        for code in (301, 302, 303, 307, 308)
    ),
    Way("redirect-meta", _frame("GOOD/say?html=<meta http-equiv=refresh content='0;url=BAD/redirect-meta'>")),
    Way("redirect-header", _frame("GOOD/refresh?to=BAD/redirect-header")),
    Way("redirect-script", _frame("GOOD/say?html=<script>location.replace('BAD/redirect-script')</script>")),
    Way("redirect-of-img", "<img src='GOOD/go?code=302&to=BAD/redirect-of-img'>"),
    Way("redirect-of-script", "<script src='GOOD/go?code=302&to=BAD/redirect-of-script'></script>"),
    Way("redirect-of-fetch", _script("quiet(fetch('GOOD/go?code=307&to=BAD/redirect-of-fetch', open))")),
    Way(
        "redirect-of-form",
        "<iframe name=f1></iframe>"
        "<form id=f method=post target=f1 action='GOOD/go?code=307&to=BAD/redirect-of-form'></form>"
        "<script>f.submit()</script>",
    ),
    Way(
        "redirect-of-worker",
        _worker("Worker", "fetch('GOOD/go?code=308&to=BAD/redirect-of-worker', {mode: 'no-cors'})"),
    ),
    # --- parts of a page
    Way("iframe", _frame("BAD/iframe")),
    Way("iframe-srcdoc", "<iframe srcdoc='<img src=BAD/iframe-srcdoc>'></iframe>"),
    Way("iframe-data", "<iframe src='data:text/html,<img src=BAD/iframe-data>'></iframe>"),
    Way(
        "iframe-blob",
        "<iframe id=b></iframe>"
        + _script("b.src = URL.createObjectURL(new Blob(['<img src=BAD/iframe-blob>'], {type: 'text/html'}))"),
    ),
    Way("object", "<object data='BAD/object'></object>"),
    Way("embed", "<embed src='BAD/embed'>"),
    Way("img", "<img src='BAD/img'>"),
    Way("img-srcset", "<img srcset='BAD/img-srcset 1x'>"),
    Way("svg-image", "<svg><image href='BAD/svg-image' width=9 height=9 /></svg>"),
    Way("input-image", "<input type=image src='BAD/input-image'>"),
    Way("script", "<script src='BAD/script'></script>"),
    Way("script-module", "<script type=module>import('BAD/script-module').catch(() => 0)</script>"),
    Way("style", "<link rel=stylesheet href='BAD/style'>"),
    Way("style-import", "<style>@import url('BAD/style-import')</style>"),
    Way("style-image", "<div style='background: url(BAD/style-image)'>x</div>"),
    Way("font", "<style>@font-face {font-family: f; src: url('BAD/font')} p {font-family: f}</style><p>x</p>"),
    Way("video", "<video src='BAD/video' autoplay muted></video>"),
    Way("video-poster", "<video poster='BAD/video-poster'></video>"),
    Way("audio", "<audio src='BAD/audio' autoplay preload=auto></audio>"),
    Way("preload", "<link rel=preload as=image href='BAD/preload'>"),
    Way("preload-header", "x", {"Link": "<BAD/preload-header>; rel=preload; as=image"}),
    Way("modulepreload", "<link rel=modulepreload href='BAD/modulepreload'>"),
    Way("prefetch", "<link rel=prefetch href='BAD/prefetch'>"),
    Way("paint-worklet", _script("quiet(CSS.paintWorklet.addModule('BAD/paint-worklet'))")),
    Way(
        "audio-worklet",
        _script("quiet(new OfflineAudioContext(1, 1, 8000).audioWorklet.addModule('BAD/audio-worklet'))"),
    ),
    # --- scripts
    Way("fetch", _script("quiet(fetch('BAD/fetch', open))")),
    Way("fetch-post", _script("quiet(fetch('BAD/fetch-post', {method: 'POST', body: 'x', ...open}))")),
    Way("fetch-preflight", _script("quiet(fetch('BAD/fetch-preflight', {method: 'PUT'}))")),
    Way("fetch-tls", _script("quiet(fetch('https://127.0.0.1:OWN/', open))")),
    Way("xhr", _script("const x = new XMLHttpRequest(); x.open('GET', 'BAD/xhr'); x.send()")),
    Way("event-source", _script("new EventSource('BAD/event-source')")),
    Way("beacon", _script("navigator.sendBeacon('BAD/beacon', 'x')")),
    Way("web-socket", _script("new WebSocket('BADWS/web-socket')")),
    Way("web-socket-tls", _script("new WebSocket('wss://127.0.0.1:OWN/')")),
    Way(
        "form-get",
        "<iframe name=f2></iframe><form id=f target=f2 action='BAD/form-get'></form><script>f.submit()</script>",
    ),
    Way(
        "form-post",
        "<iframe name=f3></iframe><form id=f method=post target=f3 action='BAD/form-post'></form>"
        "<script>f.submit()</script>",
    ),
    Way("popup", _script("window.open('BAD/popup')")),
    Way("blank-target", "<a id=a href='BAD/blank-target' target=_blank>x</a><script>a.click()</script>"),
    Way("popup-no-opener", _script("window.open('BAD/popup-no-opener', '_blank', 'noopener')")),
    Way(
        "popup-that-goes-on",
        _script("const w = window.open('GOOD/calm'); setTimeout(() => w.location = 'BAD/popup-that-goes-on', 300)"),
    ),
    Way("ping", "<a id=a href='#' ping='BAD/ping'>x</a><script>a.click()</script>"),
    Way("download", "<a id=a href='GOOD/go?code=302&to=BAD/download' download>x</a><script>a.click()</script>"),
    Way(
        "download-attached",
        _script("const f = document.createElement('iframe'); f.src = 'BAD/download-attached'; document.body.append(f)"),
    ),
    Way(
        "csp-report", "<img src='GOOD/x.png'>", {"Content-Security-Policy": "img-src 'none'; report-uri BAD/csp-report"}
    ),
    # --- workers
    Way("worker-fetch", _worker("Worker", "fetch('BAD/worker-fetch', {mode: 'no-cors'})")),
    Way("worker-import", _worker("Worker", "importScripts('BAD/worker-import')")),
    Way("worker-socket", _worker("Worker", "new WebSocket('BADWS/worker-socket')")),
    Way("worker-event-source", _worker("Worker", "new EventSource('BAD/worker-event-source')")),
    Way("shared-worker-fetch", _worker("SharedWorker", "fetch('BAD/shared-worker-fetch', {mode: 'no-cors'})")),
    Way("shared-worker-socket", _worker("SharedWorker", "new WebSocket('BADWS/shared-worker-socket')")),
    Way(
        "service-worker-fetch",
        _script("quiet(navigator.serviceWorker.register('/service-worker.js?bad=BAD', {scope: '/sw/'}))"),
    ),
    # --- when a page is left
    Way(
        "keepalive",
        _script("addEventListener('pagehide', () => fetch('BAD/keepalive', {keepalive: true, ...open}))"),
        leaves=True,
    ),
    Way(
        "beacon-at-the-end",
        _script("addEventListener('pagehide', () => navigator.sendBeacon('BAD/beacon-at-the-end', 'x'))"),
        leaves=True,
    ),
    # --- below http
    Way("stun", _script(_ICE.replace("SERVER", "{urls: 'stun:127.0.0.1:OWN'}"))),
    Way("turn-udp", _script(_ICE.replace("SERVER", "{urls: 'turn:127.0.0.1:OWN', username: 'a', credential: 'b'}"))),
    Way(
        "turn-tcp",
        _script(_ICE.replace("SERVER", "{urls: 'turn:127.0.0.1:OWN?transport=tcp', username: 'a', credential: 'b'}")),
    ),
    Way("web-transport", _script("quiet(new WebTransport('https://127.0.0.1:OWN/').ready)")),
    # --- the forbidden host by other names
    _by_host("by-name", "localhost:PORT"),
    _by_host("by-name-with-dot", "localhost.:PORT"),
    _by_host("by-name-below-localhost", "x.localhost:PORT"),
    _by_host("by-number", "2130706433:PORT"),
    _by_host("by-hex", "0x7f.0x0.0x0.0x1:PORT"),
    _by_host("by-octal", "0177.0.0.01:PORT"),
    _by_host("by-short", "127.1:PORT"),
    _by_host("by-zero", "0.0.0.0:PORT"),
    _by_host("by-mapped-ipv6", "[::ffff:127.0.0.1]:PORT"),
    _by_host("by-ipv6", "[::1]:PORT"),
    _by_host("by-dns", "inside.test:PORT"),
    Way(
        "by-rebinding",
        _script(
            "(async () => { for (let n = 0; n < 3; n++)"
            " await quiet(fetch('http://rebind.test:PORT/by-rebinding?' + n, open)) })()"
        ),
    ),
    # --- what only a whole browser does
    Way("dns-prefetch", "<link rel=dns-prefetch href='//inside.test'>", silent="a headless shell does not ask ahead"),
    Way(
        "favicon", "<link rel=icon href='BAD/favicon'>", silent="a headless shell shows no icons, and a frame has none"
    ),
    Way("manifest", "<link rel=manifest href='BAD/manifest'>", silent="a headless shell installs no apps"),
    Way(
        "speculation",
        '<script type=speculationrules>{"prefetch": [{"urls": ["BAD/speculation"], "eagerness": "immediate"}]}'
        "</script>",
        silent="cross-site speculation wants https",
    ),
    Way(
        "reporting",
        "<img src='GOOD/x.png'>",
        {"Reporting-Endpoints": 'r="BAD/reporting"', "Content-Security-Policy": "img-src 'none'; report-to r"},
        silent="the Reporting API wants https",
    ),
    Way("fetch-later", _script("fetchLater('BAD/fetch-later', {activateAfter: 0})"), silent="it wants https"),
    Way("preconnect", "<link rel=preconnect href='BADOWN'>", silent="a headless shell does not connect in advance"),
)
