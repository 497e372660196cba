// Runs at the edge for every answer (CloudFront Functions, cloudfront-js-2.0): what an object keeps as `header-...` in its metadata is a
// header of its answer.
var KEPT = __KEPT__;

function handler(event) {
    var headers = event.response.headers;
    Object.keys(headers).forEach(function (name) {
        if (name.indexOf(KEPT) === 0) {
            headers[name.substring(KEPT.length)] = { value: headers[name].value };
            delete headers[name];
        }
    });
    return event.response;
}
