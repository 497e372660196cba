import cf from 'cloudfront';
import crypto from 'crypto';

// Runs at the edge for every request (CloudFront Functions, cloudfront-js-2.0).
//
// * www.<apex> is redirected to the apex, path and query kept.
// * The live release's table in the key-value store says what an address answers with; rules/routing.py writes it and explains it.
// * Without a table, before the first release that writes one: a path without an extension is a page, /docs as /docs/.
// * Where previews are published, the first label of the host names one; its table also says where its files lie and when it ends.
// * Whatever does not begin with a slash gets one: behind a host name it could become part of it.
var APEX = __APEX__;
var HSTS = __HSTS__;
var PREVIEWS = __PREVIEWS__;
var WIDTH = 7;

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

// Browsers are to ask again: the next release may turn the redirect round.
function redirect(status, location) {
    var headers = { location: { value: location }, 'cache-control': { value: 'public, max-age=0, must-revalidate' } };
    return { statusCode: status, statusDescription: 'Moved', headers: headers };
}

async function read(key) {
    try {
        return await cf.kvs().get(key);
    } catch (error) {
        return null;
    }
}

// Files are published under the composed form of their names; macOS links them in the other.
function decoded(uri) {
    try {
        var path = decodeURIComponent(uri);
        return path.normalize ? path.normalize('NFC') : path;
    } catch (error) {
        return uri;
    }
}

function encoded(path) {
    return encodeURI(path).replace(/[?#]/g, encodeURIComponent);
}

function number(salt, base) {
    return crypto.createHash('sha256').update(salt + '/' + base).digest('hex');
}

async function formOf(config, base) {
    var hash = number(config.s, base);
    var bucket = await read(config.t + '/' + (parseInt(hash.slice(0, 8), 16) % config.n));
    var mark = hash.slice(8, 7 + WIDTH);
    for (var at = 0; bucket && at < bucket.length; at += WIDTH) {
        if (bucket.substr(at, WIDTH - 1) === mark) {
            return bucket.charAt(at + WIDTH - 1);
        }
    }
    return '';
}

function fileOf(form, base, slash) {
    if (form === 'd' || (slash && (form === 'b' || form === 'x'))) {
        return base + '/index.html';
    }
    return form === 'f' || form === 'b' ? base + '.html' : base;
}

// What the placeholders of a rule stand for at an address; null when it does not hold there.
function matched(source, base) {
    var wanted = source.split('/');
    var given = base.split('/');
    var found = {};
    for (var i = 0; i < wanted.length; i++) {
        if (wanted[i] === '*') {
            found.splat = given.slice(i).join('/');
            return found;
        }
        var named = /^:[A-Za-z]\w*$/.test(wanted[i]);
        if (i >= given.length || !(wanted[i] === given[i] || (named && given[i] !== ''))) {
            return null;
        }
        if (named) {
            found[wanted[i].slice(1)] = given[i];
        }
    }
    return wanted.length === given.length ? found : null;
}

// The rule for an address: [target, status].
async function ruleOf(config, base, exact, forced) {
    var count = exact ? 1 : config.p;
    for (var i = 0; i < count; i++) {
        var at = exact ? 'r' + (parseInt(number(0, base).slice(0, 8), 16) % config.r) : 'p' + i;
        var rules = JSON.parse((await read(config.t + '/' + at)) || '[]');
        for (var j = 0; j < rules.length; j++) {
            var found = exact ? (rules[j][0] === base ? {} : null) : matched(rules[j][0], base);
            if (found !== null && (!forced || rules[j][3])) {
                return { target: filled(rules[j][1], found), status: rules[j][2] };
            }
        }
    }
    return null;
}

function filled(target, found) {
    return target.replace(/:([A-Za-z]\w*)/g, function (whole, name) {
        return Object.prototype.hasOwnProperty.call(found, name) ? encoded(found[name]) : whole;
    });
}

async function byRule(config, request, rule) {
    if (rule.status !== 200) {
        var more = query(request.querystring);
        var inside = rule.target.charAt(0) === '/' ? rooted(rule.target) : rule.target;
        return redirect(rule.status, safe(inside) + (rule.target.indexOf('?') < 0 ? more : ''));
    }
    var path = decoded(rooted(rule.target).split(/[?#]/)[0]);
    var base = bare(path);
    request.uri = '/' + encoded(base === '' ? 'index.html' : fileOf(await formOf(config, base), base, /\/$/.test(path)));
    return request;
}

function bare(path) {
    return path.replace(/^\//, '').replace(/\/$/, '');
}

// Whether a browser opens a page: not an image, script or call of one.
function navigates(headers, base) {
    var mode = headers['sec-fetch-mode'];
    var accept = headers.accept ? headers.accept.value : '';
    return mode ? mode.value === 'navigate' : accept.indexOf('text/html') >= 0 || base.substring(base.lastIndexOf('/') + 1).indexOf('.') < 0;
}

// What answers where the site has nothing: its fallback, the nearest 404 page, or the bucket, which has a file or has not.
function missing(config, request, uri, base) {
    var within = config.m.filter(function (folder) { return (base + '/').indexOf(folder + '/') === 0; })[0];
    if (config.f && navigates(request.headers, base)) {
        request.uri = '/' + encoded(config.f);
    } else if (PREVIEWS && !(within && navigates(request.headers, base))) {
        request.uri = '/404.html';
    } else if (within && navigates(request.headers, base)) {
        request.uri = '/' + encoded(within) + '/404.html';
    } else {
        request.uri = /\/$/.test(uri) ? uri + 'index.html' : uri;
    }
    return request;
}

async function route(config, request, asked) {
    var path = decoded(asked);
    var uri = /[^\x00-\x7f]/.test(path) ? encoded(path) : asked;
    var base = path === '/index.html' ? '' : bare(path);
    if (base === '' && config.h) {
        return redirect(302, config.h + query(request.querystring));
    }
    if (config.o) {
        var forced = await ruleOf(config, base, false, true);
        if (forced) {
            return await byRule(config, request, forced);
        }
    }
    var form = await formOf(config, base);
    if (form === 'r') {
        var exact = await ruleOf(config, base, true, false);
        return exact ? await byRule(config, request, exact) : missing(config, request, uri, base);
    }
    if (base === '') {
        request.uri = '/index.html';
        return request;
    }
    var slash = /\/$/.test(uri);
    if ((form === 'd' && !slash) || (form === 'f' && slash)) {
        return redirect(301, safe(slash ? uri.replace(/\/$/, '') : uri + '/') + query(request.querystring));
    }
    if (form && !(form === 'a' && slash)) {
        request.uri = '/' + encoded(fileOf(form, base, slash));
        return request;
    }
    var rule = config.p ? await ruleOf(config, base, false, false) : null;
    return rule ? await byRule(config, request, rule) : missing(config, request, uri, base);
}

// One that ended, or never was, looks like any other name.
async function preview(request, host, uri) {
    var config = JSON.parse((await read(host.split('.')[0])) || '{}');
    if (!config.d || Date.now() >= config.e * 1000) {
        var headers = { 'content-type': { value: 'text/plain' }, 'cache-control': { value: 'no-store' }, 'x-robots-tag': { value: 'noindex' } };
        return { statusCode: 404, statusDescription: 'Not Found', headers: headers, body: 'There is no preview here, or it has ended.\n' };
    }
    var answer = await route(config, request, uri);
    if (answer.uri) {
        answer.uri = '/' + config.d + answer.uri;
    } else {
        answer.headers['x-robots-tag'] = { value: 'noindex' };
    }
    return answer;
}

async function handler(event) {
    var request = event.request;
    var host = request.headers.host ? request.headers.host.value.toLowerCase().split(':')[0] : '';
    var uri = rooted(request.uri);
    if (PREVIEWS) {
        return await preview(request, host, uri);
    }
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
    var config = await read('config');
    if (config === null) {
        request.uri = file(request.uri.charAt(0) === '/' ? request.uri : '/' + request.uri);
        return request;
    }
    return await route(JSON.parse(config), request, uri);
}
