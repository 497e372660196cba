// Runs at the edge for every answer (CloudFront Functions, cloudfront-js-2.0): a page that stands for what is missing says so, and what an
// object keeps as `header-...` in its metadata is a header of its answer.
var STATUS = __STATUS__;
var KEPT = __KEPT__;

function handler(event) {
    var response = event.response;
    var headers = response.headers;
    var status = headers[STATUS];
    if (status) {
        delete headers[STATUS];
        if (response.statusCode === 200) {
            response.statusCode = parseInt(status.value, 10);
            response.statusDescription = 'Not Found';
        }
    }
    Object.keys(headers).forEach(function (name) {
        if (name.indexOf(KEPT) === 0) {
            headers[name.substring(KEPT.length)] = { value: headers[name].value };
            delete headers[name];
        }
    });
    return response;
}
