// Runs at the edge for every answer (CloudFront Functions, cloudfront-js-2.0): a page that stands for what is missing says so.
function handler(event) {
    var response = event.response;
    var status = response.headers[__STATUS__];
    if (status) {
        delete response.headers[__STATUS__];
        if (response.statusCode === 200) {
            response.statusCode = parseInt(status.value, 10);
            response.statusDescription = 'Not Found';
        }
    }
    return response;
}
