// Runs at the edge for every request (CloudFront Functions, cloudfront-js-2.0).
//
// * www.<apex> is redirected to the apex, path and query kept.
// * A path without an extension is a page: /docs and /docs/ are both served by /docs/index.html.
// * Everything else is a file and passes as it is.
// * Whatever does not begin with a slash gets one: behind a host name it could become part of it.
var APEX = __APEX__;
var HSTS = __HSTS__;

// Files that frameworks write without an extension: Next's generated images and what lives below /.well-known/.
var BARE_FILE = /^(opengraph-image|twitter-image|icon|apple-icon)\d*(-[a-z0-9]+)?$/;

// A header must not carry what a URL may not: encodes it, and leaves what is encoded already.
function safe(text) {
    return encodeURI(text).replace(/%25/g, '%');
}

function query(parameters) {
    var parts = [];
    Object.keys(parameters).forEach(function (name) {
        var one = parameters[name];
        (one.multiValue || [one]).forEach(function (item) {
            parts.push(item.value === '' ? name : name + '=' + item.value);
        });
    });
    return parts.length ? '?' + safe(parts.join('&')) : '';
}

// The path alone, from its first slash: `//host`, `\\host` and `@host` are no address of their own here.
function rooted(uri) {
    return uri.replace(/^[/\\]*/, '/');
}

// The default root object may have been put in already; an address that people see ends in the folder.
function shown(uri) {
    return uri.replace(/\/index\.html$/, '/');
}

function file(uri) {
    var name = uri.substring(uri.lastIndexOf('/') + 1);
    if (name === '') {
        return uri + 'index.html';
    }
    if (name.indexOf('.') >= 0 || uri.indexOf('/.well-known/') === 0 || BARE_FILE.test(name)) {
        return uri;
    }
    return uri + '/index.html';
}

function handler(event) {
    var request = event.request;
    var host = request.headers.host ? request.headers.host.value.toLowerCase().split(':')[0] : '';
    if (host === 'www.' + APEX) {
        var headers = {
            location: { value: 'https://' + APEX + safe(rooted(shown(request.uri))) + query(request.querystring) },
            'cache-control': { value: 'public, max-age=3600' }
        };
        if (HSTS) {
            headers['strict-transport-security'] = { value: HSTS };
        }
        return { statusCode: 301, statusDescription: 'Moved Permanently', headers: headers };
    }
    request.uri = file(request.uri.charAt(0) === '/' ? request.uri : '/' + request.uri);
    return request;
}
